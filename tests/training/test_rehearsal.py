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


def test_memory_is_that_of_all_processes() -> None:
    alone, _ = rehearse(small_run(video_every=0))
    films, _ = rehearse(small_run())
    workers, _ = rehearse(small_run(video_every=0, num_envs=3))
    least = 3 * 20 * 2**20  # three interpreters
    assert workers["process memory"] > alone["process memory"] + least
    assert films["process memory"] > alone["process memory"]


def test_random_agent_and_states_are_rehearsed() -> None:
    options: dict[str, Any]
    for options in ({"agent": "random"}, {"obs": "state", "agent": "d4pg"}):
        memory, disk = rehearse(small_run(**options))
        assert memory["process memory"] > 2**20
        assert disk > 0
