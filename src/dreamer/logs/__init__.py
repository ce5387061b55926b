"""What a run shows: metrics, the progress line, videos."""
