"""Learning curves of our runs beside the published ones, as files, plots and tables."""
