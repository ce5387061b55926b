"""Learning curves of our runs beside the published ones: files, plots, tables; and the doctor."""
