"""The outer loop: collecting, training, evaluating, keeping."""
