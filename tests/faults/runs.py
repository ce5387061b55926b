"""Runs in processes of their own, which are killed at will and looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dreamer
import faults.server
from dreamer.storage import checkpoint
from faults.server import REFUSED as REFUSED
from training.runs import metrics, tree, without_times

KILLED = -9
SHORT: dict[str, Any] = {
    "steps": 300,
    "prefill": 100,
    "train_every": 50,
    "train_steps": 2,
    "checkpoint_every": 100,
    "eval_every": 150,
}
"""A run of six episodes, four rounds of updates and three checkpoints."""


class Runs:
    """Starts runs, one after the other, until it is closed."""

    def __init__(self) -> None:
        tests = Path(faults.server.__file__).parents[1]
        path = os.pathsep.join([str(Path(dreamer.__file__).parents[1]), str(tests)])
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-m", "faults.server"],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def train(self, logdir: Path, *, kill_after: float = -1, kill_at: int = -1, **options: Any) -> int:
        """Train, or go on, with the options of `training.runs.config`. Return the exit status.

        The run is killed after so many seconds, or before the file operation of a number, if one is given.
        """
        request = {"logdir": str(logdir), "options": options, "log": str(self.log(logdir))}
        request |= {"kill_after": kill_after, "kill_at": kill_at}
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def log(self, logdir: Path) -> Path:
        """The file beside the run for what it has written to stderr."""
        return logdir.with_name(logdir.name + ".log")

    def close(self) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def file_operations(log: Path) -> int:
    """How many file operations a run has counted that was not killed."""
    return int(log.read_text().rpartition("file operations: ")[2])


def everything(logdir: Path) -> dict[str, Any]:
    """All that a run on disk is, but the time it took."""
    state = checkpoint.load(logdir / "checkpoint")
    assert state is not None
    return without_times(state) | {"files": tree(logdir / "replay"), "metrics": metrics(logdir)}
