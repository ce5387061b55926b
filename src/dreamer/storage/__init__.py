"""What a run keeps on disk: its directory, its checkpoints, files that are whole or not there."""
