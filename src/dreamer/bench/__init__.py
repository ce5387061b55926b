"""Costs on this machine: `dreamer bench` measures each part of a run, `dreamer doctor` predicts a whole run."""
