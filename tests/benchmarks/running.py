"""Scripts as a user calls them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `benchmarks/name` to its end."""
    script = ROOT / "benchmarks" / name
    command = [str(script)] if script.suffix == ".sh" else [sys.executable, str(script)]
    settings = {"PYTHONPATH": str(ROOT / "src"), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings | {"CUDA_VISIBLE_DEVICES": ""}
    line = [*command, *map(str, arguments)]
    return subprocess.run(line, check=False, timeout=400, env=environment, capture_output=True, text=True)
