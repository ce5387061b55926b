import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.small import small_run
from dreamer.config import Config
from dreamer.training import rehearsal
from dreamer.training.make import make_trainer
from dreamer.training.rehearsal import rehearse


def disk_of(config: Config, run: Path) -> dict[str, int]:
    """Train the whole run; return the bytes of each of its folders."""
    trainer = make_trainer(config, run)
    try:
        assert trainer.run()
    finally:
        trainer.close()
    return {path.name: rehearsal._size(path) for path in run.iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    "options",
    [{"time_limit": 1000}, {"replay_size": 150, "checkpoint_every": 100}],
    ids=["episodes that end by themselves", "a bounded replay"],
)
def test_disk_of_a_run_is_predicted(options: dict[str, Any], tmp_path: Path) -> None:
    config = small_run(**{"steps": 800, "eval_every": 300, "video_every": 300, "logger": "none", **options})
    folders = disk_of(config, tmp_path / "run")
    _, predicted = rehearse(config)
    exact = folders["replay"] + folders["checkpoint"]
    assert exact <= predicted < 2 * (exact + folders["videos"])


REHEARSALS = """
from bench.small import small_run
from dreamer.training.rehearsal import rehearse
for options in ({}, {"video_every": 0}, {"video_every": 0, "num_envs": 3}):
    print(rehearse(small_run(**options))[0]["process memory"])
"""


def test_memory_is_that_of_all_processes() -> None:
    """In a process of its own: this one gives back what earlier tests have had, whenever it likes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-c", REHEARSALS]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    films, alone, workers = map(int, done.stdout.split())
    assert workers > alone + 3 * 20 * 2**20  # three interpreters
    assert films > alone + 20 * 2**20


def test_random_agent_and_states_are_rehearsed() -> None:
    options: dict[str, Any]
    for options in ({"agent": "random"}, {"obs": "state", "agent": "d4pg"}):
        memory, disk = rehearse(small_run(**options))
        assert memory["process memory"] > 2**20
        assert disk > 0
