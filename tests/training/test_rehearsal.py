import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.small import small_run
from dreamer.bench.collecting import environment_spec
from dreamer.config import Config, with_options
from dreamer.presets import preset
from dreamer.training import rehearsal
from dreamer.training.make import make_trainer
from dreamer.training.rehearsal import rehearse, speed_of_workers


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


def test_memory_and_disk_of_a3c_are_predicted_from_one_of_its_workers(tmp_path: Path) -> None:
    options = {"steps": 4000, "time_limit": 50, "eval_every": 2000, "checkpoint_every": 1000, "workers": 1}
    config = with_options(preset("debug", agent="a3c"), options)
    folders = disk_of(config, tmp_path / "run")
    memory, predicted = rehearse(with_options(config, {"workers": 30}))
    used = sum(folders.values()) + (tmp_path / "run" / "metrics.jsonl").stat().st_size
    assert used <= predicted < 2 * used
    assert memory["process memory"] > 30 * 50 * 2**20  # each has loaded PyTorch


def test_speed_of_a3c_is_that_of_its_workers_on_the_cores_that_there_are(monkeypatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(rehearsal, "cores", lambda: 4)
    for workers, at_once in ((2, 2), (32, 4)):
        config = with_options(preset("debug", agent="a3c"), {"workers": workers, "rollout": 30})
        # A second passes between two looks at the clock, so there is time for two rounds in three.
        assert speed_of_workers(environment_spec(config.environment), config, 3.0) == at_once * 30 * 2 / 3


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


def test_a_replay_in_memory_is_that_of_the_whole_run() -> None:
    used = {}
    for where in ("device", "disk"):
        options: dict[str, Any] = {"agent": "d4pg", "obs": "state", "replay_device": where}
        options |= {"steps": 10**8, "action_repeat": 1, "time_limit": 1000}
        used[where] = rehearse(small_run(**options))[0]["process memory"]
    # An element of `toy:dot` has 2 numbers of its state, 2 of an action, reward and discount, each 4 bytes.
    assert used["device"] - used["disk"] == pytest.approx(24 * 10**8, rel=0.1)


def test_random_agent_and_states_are_rehearsed() -> None:
    options: dict[str, Any]
    for options in ({"agent": "random"}, {"obs": "state", "agent": "d4pg"}):
        memory, disk = rehearse(small_run(**options))
        assert memory["process memory"] > 2**20
        assert disk > 0
