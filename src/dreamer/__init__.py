"""Dreamer: learning behaviors by latent imagination (Hafner et al., ICLR 2020)."""

__version__ = "0.1.0"
