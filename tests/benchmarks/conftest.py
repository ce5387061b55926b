"""The scripts in `benchmarks/`, which are not installed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def gpu(tmp_path: Path) -> Call:
    """Run `gpu.sh` of the project in `root`; settings are environment variables, results go into `out`."""

    def call(
        root: Path, python: str | Path = sys.executable, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHON": str(python),
            "PYTHONPATH": "",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            **{name: str(value) for name, value in settings.items()},
        }
        line = [str(root / "benchmarks" / "gpu.sh"), str(tmp_path / "out")]
        return subprocess.run(line, check=False, env=environment, capture_output=True, text=True, timeout=600)

    return call
