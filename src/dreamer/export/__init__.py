"""A trained policy as one file, and reading it back."""
