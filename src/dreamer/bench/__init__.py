"""What everything costs on this machine: `dreamer bench` measures it, `dreamer doctor` predicts a run."""
