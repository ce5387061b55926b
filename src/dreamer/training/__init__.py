"""What loops: the training loop, collecting, evaluating."""
