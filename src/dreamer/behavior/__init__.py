"""Part 3: learning behaviors by latent imagination (paper, Section 3)."""
