"""A run that is stopped, killed or repeated ends in the same bits as one that is left alone."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from dreamer.errors import UserError
from dreamer.replay.feed import DiskFeed
from dreamer.training.trainer import Trainer
from training.runs import Stop, call_after, config, everything, metrics, run, same, tree, weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """State and metrics of a run that nothing disturbed."""
    logdir = tmp_path_factory.mktemp("whole") / "run"
    trainer = run(config(), logdir)
    return everything(trainer), metrics(logdir)


STOPS = {
    "in a random episode": ("_interact", 37),
    "in an episode of the policy": ("_interact", 230),
    "after the first update": ("_update", 1),
    "in a round of updates": ("_update", 6),
    "after the last update of a round": ("_update", 8),
    "in an evaluation": ("_evaluate", 1),
    "while a checkpoint is saved": ("_save", 1),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS.keys())
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: Stop, whole) -> None:
    run(config(), tmp_path / "run", stop)
    resumed = run(config(), tmp_path / "run")
    assert resumed.resumed
    assert same(everything(resumed), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


@pytest.mark.parametrize(("agent_step", "saved_at"), [(12, 300), (60, 600)], ids=["on the way", "at the end"])
def test_stopping_in_the_middle_of_an_evaluation_changes_nothing(
    tmp_path: Path, agent_step: int, saved_at: int, whole
) -> None:
    """Evaluations have 25 and 2 x 25 agent steps: the second stop falls into the last episode of the last."""
    stopped = Trainer(config(), tmp_path / "run")
    call_after(
        stopped.eval_envs, "step_one", agent_step, lambda: setattr(stopped.interrupt, "requested", True)
    )
    assert not stopped.run()
    stopped.close()
    assert stopped.counters.env_step == saved_at
    assert metrics(tmp_path / "run") == [line for line in whole[1] if line["env_step"] <= saved_at][:-1]
    resumed = run(config(), tmp_path / "run")
    assert same(everything(resumed), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


@pytest.mark.parametrize("where", [("device", "device"), ("disk", "device"), ("device", "disk")])
def test_the_place_of_the_replay_changes_nothing(tmp_path: Path, where: tuple[str, str], whole) -> None:
    run(config(replay_device=where[0]), tmp_path / "run", STOPS["in a round of updates"])
    resumed = run(config(replay_device=where[1]), tmp_path / "run")
    assert type(resumed.feed).__name__ == {"device": "DeviceReplay", "disk": "Prefetcher"}[where[1]]
    assert same(everything(resumed), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


def test_batches_are_the_same_without_fast(tmp_path: Path, whole) -> None:
    run(config(), tmp_path / "run", STOPS["in a round of updates"])
    resumed = run(config(fast=False), tmp_path / "run")
    assert isinstance(resumed.feed, DiskFeed)
    assert same(everything(resumed)["replay_rng"], whole[0]["replay_rng"])


def test_kill_loses_only_what_came_after_the_checkpoint(tmp_path: Path, whole) -> None:
    """As a kill leaves it: newer episodes and metrics than the checkpoint, half-written files."""
    trainer, killed = Trainer(config(), tmp_path / "run"), tmp_path / "killed"
    call_after(trainer, "_interact", 230, lambda: shutil.copytree(tmp_path / "run", killed))
    trainer.run()
    trainer.close()
    (killed / "replay" / "episode-00000009-26.npz.tmp").write_bytes(b"half")
    (killed / "checkpoint" / "step-000000500-0123456789abcdef.pt.tmp").write_bytes(b"half")
    episodes, lines = len(list((killed / "replay").glob("*.npz"))), len(metrics(killed))
    resumed = Trainer(config(), killed)
    assert resumed.counters.env_step == 300
    assert len(resumed.store) < episodes
    assert len(metrics(killed)) < lines
    resumed.run()
    resumed.close()
    assert same(everything(resumed), whole[0])
    assert metrics(killed) == whole[1]


def test_longer_run_goes_on_where_a_shorter_one_ended(tmp_path: Path, whole) -> None:
    run(config(steps=300), tmp_path / "run")
    resumed = run(config(steps=600), tmp_path / "run")
    assert same(everything(resumed), whole[0])
    assert _without_evaluations(metrics(tmp_path / "run")) == _without_evaluations(whole[1])


def _without_evaluations(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "eval/return" not in line]


def test_complete_run_started_again_adds_nothing(tmp_path: Path, whole) -> None:
    run(config(steps=220), tmp_path / "run")
    before = metrics(tmp_path / "run")
    run(config(steps=220), tmp_path / "run")
    assert metrics(tmp_path / "run") == before


def test_seed_decides_the_run(tmp_path: Path, whole) -> None:
    again = run(config(), tmp_path / "again")
    assert same(everything(again), whole[0])
    assert metrics(tmp_path / "again") == whole[1]
    other = run(config(seed=1, steps=220), tmp_path / "other")
    assert not same(weights(other)["networks"], whole[0]["weights"]["networks"])
    assert metrics(tmp_path / "other")[0]["train/return"] != whole[1][0]["train/return"]


def test_evaluations_and_videos_change_nothing(tmp_path: Path, whole) -> None:
    other = run(config(eval_every=100, eval_episodes=2, video_every=300), tmp_path / "run")
    assert len(list((tmp_path / "run" / "videos").iterdir())) == 4
    assert same(weights(other), whole[0]["weights"])
    assert same(everything(other)["collector"], whole[0]["collector"])
    assert everything(other)["files"] == whole[0]["files"]
    assert _without_evaluations(metrics(tmp_path / "run")) == _without_evaluations(whole[1])


@pytest.mark.render
def test_resumed_run_of_a_simulator_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = config(env="dmc:cartpole_balance", render="fast", time_limit=100, action_repeat=4, steps=400)
    undisturbed = run(settings, tmp_path / "whole")
    run(settings, tmp_path / "run", ("_interact", 83))
    assert same(everything(run(settings, tmp_path / "run")), everything(undisturbed))


# -- what a kill or a bad disk leaves behind ---------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True], ids=["", "while the first is written"])
def test_a_run_killed_before_its_first_checkpoint_starts_anew(
    half: bool, tmp_path: Path, whole, caplog
) -> None:
    trainer, killed = Trainer(config(steps=220), tmp_path / "run"), tmp_path / "killed"
    call_after(trainer, "_interact", 100, lambda: shutil.copytree(tmp_path / "run", killed))
    trainer.run()
    trainer.close()
    assert [path.name for path in checkpoints(killed)] == ["none-yet"]
    if half:
        (killed / "checkpoint" / "step-000000200-0123456789abcdef.pt.tmp").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        again = run(config(), killed)
    assert "before its first checkpoint" in caplog.text
    assert not again.resumed
    assert same(everything(again), whole[0])
    assert metrics(killed) == whole[1]


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run with checkpoints at 300 and 340 frames."""
    run(config(), tmp_path / "run", ("_interact", 170))
    assert [int(path.name.split("-")[1]) for path in checkpoints(tmp_path / "run")] == [300, 340]
    return tmp_path / "run"


def checkpoints(logdir: Path) -> list[Path]:
    return sorted((logdir / "checkpoint").iterdir())


def _refused(logdir: Path, message: str) -> None:
    before = tree(logdir)
    with pytest.raises(UserError, match=message):
        Trainer(config(), logdir)
    assert tree(logdir) == before


LOST = "holds no checkpoint, although the run has episodes or metrics: put the checkpoints back, or remove"


def test_lost_checkpoints_are_not_taken_for_a_new_run(stopped: Path) -> None:
    for path in checkpoints(stopped):
        path.unlink()
    _refused(stopped, LOST)


def test_a_missing_folder_of_checkpoints_is_not_taken_for_a_new_run(stopped: Path) -> None:
    shutil.rmtree(stopped / "checkpoint")
    _refused(stopped, LOST)
    shutil.rmtree(stopped / "replay")
    _refused(stopped, LOST)  # Metrics alone are worth keeping, too.


def test_damaged_checkpoints_are_refused(stopped: Path) -> None:
    for path in checkpoints(stopped):
        path.write_bytes(path.read_bytes()[:1000])
    _refused(stopped, "No checkpoint in .* is sound")


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_used(stopped: Path, whole, caplog) -> None:
    newest = checkpoints(stopped)[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING):
        resumed = run(config(), stopped)
    assert newest.name in caplog.text
    assert same(everything(resumed), whole[0])
    assert metrics(stopped) == whole[1]


def test_truncated_episode_is_reported_and_left_out(stopped: Path, caplog) -> None:
    episode = sorted((stopped / "replay").glob("*.npz"))[2]
    episode.write_bytes(episode.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING):
        resumed = run(config(), stopped)
    assert episode.name in caplog.text
    assert 2 not in resumed.store.ids
    assert resumed.counters.env_step == 600


def test_run_with_a_missing_episode_goes_on_without_it(stopped: Path, caplog) -> None:
    sorted((stopped / "replay").glob("*.npz"))[2].unlink()
    with caplog.at_level(logging.WARNING):
        resumed = run(config(), stopped)
    assert "1 are missing or others (id 2): going on without them" in caplog.text
    assert 2 not in resumed.store.ids
    assert resumed.counters.env_step == 600


def test_run_without_its_episodes_is_refused(stopped: Path) -> None:
    for episode in (stopped / "replay").glob("*.npz"):
        episode.unlink()
    _refused(stopped, r"episodes of the checkpoint, \d+ are missing")
