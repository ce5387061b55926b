"""Part 3: learning behaviours by latent imagination (paper, Section 3)."""
