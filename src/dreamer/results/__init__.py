"""What comes out of runs: published scores, plots, tables, pictures of dreams, and the doctor."""
