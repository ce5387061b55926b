"""The files of a run: its directory, its checkpoints, and atomic writing."""
