"""Part 2: the latent dynamics model (paper, Section 4)."""
