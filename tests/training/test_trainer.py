"""The outer loop: what is due when, updates that are not finite, and disks that fill up."""

import copy
import errno
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamer.config import evaluated, with_options
from dreamer.envs import VectorEnv
from dreamer.errors import UserError
from dreamer.replay.store import EpisodeStore
from dreamer.storage.checkpoint import load
from dreamer.training.evaluate import evaluate
from dreamer.training.trainer import Trainer
from dreamer.types import Batch, Phase
from helpers import learner
from training.runs import call_after, config, metrics, run, same, tree, weights


def test_updates_follow_the_frames(tmp_path: Path) -> None:
    """The random episodes end at 200 frames: one round there, and one each 100 frames from then on."""
    trainer = run(config(steps=450, train_every=100, train_steps=3), tmp_path)
    assert trainer.rounds.start == 200
    assert trainer.counters.grad_step == 3 * 3
    assert trainer.counters.env_step == 450
    assert trainer.counters.agent_step == 225
    rounds = [line for line in metrics(tmp_path) if "model/loss" in line]
    assert [(line["env_step"], line["grad_step"]) for line in rounds] == [(200, 3), (300, 6), (400, 9)]


def test_metrics_count_what_they_say(tmp_path: Path) -> None:
    trainer = run(config(env="toy:counting", steps=250), tmp_path)
    lines = metrics(tmp_path)
    episodes = [line for line in lines if "train/return" in line]
    assert [line["env_step"] for line in episodes] == [50, 100, 150, 200, 250]
    assert {(line["train/return"], line["train/length"]) for line in episodes} == {(50 * 51 / 2, 25)}
    kept = trainer.store.episode(trainer.store.ids[-1])
    assert np.array_equal(kept["image"][:, 0, 0, 0], np.arange(0, 51, 2))  # the frame, in red
    assert np.array_equal(
        kept["image"][:, 0, 0, 1], np.round(127.5 * (kept["action"][:, 0].astype(float) + 1))
    )
    final = lines[-1]
    assert (final["eval/return"], final["eval/episodes"], final["env_step"]) == (50 * 51 / 2, 2, 250)


def test_a_video_may_be_due_before_the_first_episode_ends(tmp_path: Path) -> None:
    trainer = run(config(steps=40, eval_every=20, video_every=20, agent="random"), tmp_path)
    assert not len(trainer.store)
    assert trainer.counters.finished_at == 40


WITH_VIDEOS = {"steps": 400, "eval_every": 100, "video_every": 200}


@pytest.mark.parametrize("options", [{}, {"agent": "random"}], ids=str)
def test_videos_are_logged_once_a_period_also_without_a_prediction(
    options: dict[str, Any], tmp_path: Path
) -> None:
    run(config(**WITH_VIDEOS, **options), tmp_path)
    videos = sorted(path.stem for path in (tmp_path / "videos").iterdir())
    predictions = [] if options else ["open_loop-000000200", "open_loop-000000400"]
    assert videos == ["evaluation-000000200", "evaluation-000000400", *predictions]


def test_no_prediction_reaches_beyond_a_short_episode(tmp_path: Path) -> None:
    run(config(**WITH_VIDEOS, time_limit=8, prefill=50), tmp_path)
    videos = sorted(path.stem for path in (tmp_path / "videos").iterdir())
    assert videos == ["evaluation-000000200", "evaluation-000000400"]


def test_videos_are_gifs_without_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    trainer = run(config(**WITH_VIDEOS), tmp_path)
    assert trainer.counters.finished_at == 400
    videos = {path.name for path in (tmp_path / "videos").iterdir()}
    assert videos == {
        f"{name}-000000{step}.gif" for name in ("evaluation", "open_loop") for step in (200, 400)
    }
    assert caplog.text.count("ffmpeg is missing") == 1


def test_evaluation_with_several_environments_has_a_process_of_its_own(tmp_path: Path) -> None:
    """So that `--worker-timeout` holds for the evaluation as well; nothing else changes."""
    trainer = run(config(num_envs=2, steps=300), tmp_path)
    assert trainer.eval_envs._env is None
    alone = VectorEnv(evaluated(trainer.config.environment), 1)
    assert alone._env is not None
    seed = 1_000_003 * 301
    again = evaluate(trainer.agent, alone, episodes=2, seed=seed)
    assert metrics(tmp_path)[-1]["eval/return"] == np.mean(again.returns)


def test_learning_starts_after_the_prefill_and_a_whole_episode(tmp_path: Path) -> None:
    few = run(config(steps=300, prefill=0), tmp_path / "episodes")
    assert few.rounds.start == 50
    many = run(config(steps=300, prefill=120), tmp_path / "frames")
    assert many.rounds.start == 120


def test_a_run_that_cannot_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--steps 199 end before learning begins, after --prefill 200"):
        Trainer(config(steps=199), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    Trainer(config(steps=199, agent="random"), tmp_path / "random").close()


def test_a_run_that_has_not_learned_says_so_and_goes_on_with_more_steps(tmp_path: Path, caplog) -> None:
    never = {"time_limit": 4000, "steps": 300, "env": "toy:counting"}
    trainer = Trainer(config(**never), tmp_path)
    assert "Learning begins after a whole episode; with --time-limit 4000" in caplog.text
    with pytest.raises(UserError, match=r"Nothing was learned in 300 frames: .* --time-limit 4000"):
        trainer.run()
    trainer.close()
    assert load(tmp_path / "checkpoint") is not None
    assert not (tmp_path / "metrics.jsonl").exists()  # an evaluation would have been of no use


def test_pretraining_trains_the_model_then_the_value_then_all(tmp_path: Path) -> None:
    trainer = Trainer(config(pretrain_model=5, pretrain_value=3, steps=200), tmp_path)
    seen: list[Phase] = []
    whole = trainer.agent.update

    def watched(batch: Batch, phase: Phase = "all") -> Any:
        seen.append(phase)
        return whole(batch, phase)

    trainer.agent.update = watched
    trainer.run()
    trainer.close()
    assert seen == ["model"] * 5 + ["model and value"] * 3 + ["all"] * 4


def test_run_with_two_environments(tmp_path: Path) -> None:
    trainer = run(config(num_envs=2, steps=300), tmp_path)
    assert trainer.counters.env_step == 300
    assert trainer.counters.agent_step == 150
    assert len(trainer.store) == 6


# -- updates that are not finite ---------------------------------------------------------------------------


def _poison(trainer: Trainer, when: Callable[[int], bool]) -> None:
    """Put a NaN into the rewards of the updates whose number (from 0) `when` picks."""
    whole = trainer.agent.update

    def poisoned(batch: Batch, phase: Phase = "all") -> Any:
        if when(trainer.counters.grad_step):
            batch = {**batch, "reward": batch["reward"] * math.nan}
        return whole(batch, phase)

    trainer.agent.update = poisoned


def test_update_that_is_not_finite_is_left_out_and_counted(tmp_path: Path) -> None:
    trainer = Trainer(config(steps=300), tmp_path)
    _poison(trainer, lambda n: n in (1, 5, 6))
    trainer.run()
    trainer.close()
    rounds = [line for line in metrics(tmp_path) if "model/skipped_updates" in line]
    assert [line["model/skipped_updates"] for line in rounds] == [1 / 4, 2 / 4]
    assert all(math.isfinite(line["model/reward_loss"]) for line in rounds)
    assert trainer.skipped.in_a_row == 0
    flat = torch.cat([x.flatten() for x in weights(trainer)["networks"].values()])
    assert torch.isfinite(flat).all()


def test_run_stops_after_several_updates_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamer.training.skipped.MAX_SKIPPED", 3)
    settings = config()
    run(settings, tmp_path, ("_interact", 160))
    before = tree(tmp_path / "checkpoint")
    trainer = Trainer(settings, tmp_path)
    _poison(trainer, lambda n: n >= 9)
    with pytest.raises(UserError, match=r"3 updates in a row were not finite, first in model/reward_loss"):
        trainer.run()
    trainer.close()
    assert trainer.counters.grad_step == 12
    assert tree(tmp_path / "checkpoint") == before
    assert run(settings, tmp_path).counters.env_step == 600


def test_precision_and_rates_may_change_after_non_finite_updates(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another precision and smaller rates, from the last checkpoint on."""
    settings = config()
    run(settings, tmp_path, ("_interact", 160))
    changes = {
        "precision": "bfloat16",
        "model_lr": 1e-5,
        "actor_lr": 2e-5,
        "value_lr": 3e-5,
        "grad_clip": 4.0,
    }
    changed = with_options(settings, changes)
    trainer = Trainer(changed, tmp_path)
    assert trainer.resumed
    assert trainer.run_directory.config() == changed
    assert "model_lr was 0.0006, now 1e-05" in caplog.text
    assert trainer.agent.dtype == torch.bfloat16
    optimizers = learner(trainer.agent).optimizers
    assert optimizers.grad_clip == 4.0
    rates = {name: each.lr for name, each in optimizers.optimizers.items()}
    assert rates == {"model": 1e-5, "actor": 2e-5, "value": 3e-5}
    trainer.close()


def test_a_smaller_rate_takes_smaller_steps_after_a_resume(tmp_path: Path) -> None:
    run(config(), tmp_path / "run", ("_interact", 160))
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    moved = {}
    for name, rate in {"run": 1e-3, "other": 1e-6}.items():
        trainer = Trainer(config(model_lr=rate), tmp_path / name)
        before = copy.deepcopy(learner(trainer.agent).world_model.state_dict())
        call_after(trainer, "_update", 1, lambda t=trainer: setattr(t.interrupt, "requested", True))
        trainer.run()
        trainer.close()
        after = learner(trainer.agent).world_model.state_dict()
        moved[name] = max(float((after[key] - before[key]).abs().max()) for key in before)
    assert moved["run"] > 1e-4
    assert moved["other"] < 1e-5


# -- disks that fill up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["commit", "rewind"])
def test_a_disk_that_refuses_to_delete_is_a_sentence(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    run(config(steps=40, agent="random"), tmp_path)
    monkeypatch.setattr(EpisodeStore, part, refuse)
    with pytest.raises(UserError, match=r"Cannot write .* .Read-only file system.: make room there"):
        run(config(steps=60, agent="random"), tmp_path)


def test_a_full_disk_stops_a_run_that_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(config(), tmp_path / "whole")
    trainer = Trainer(config(), tmp_path / "run")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    call_after(trainer, "_interact", 190, lambda: monkeypatch.setattr(os, "fsync", refuse))
    with pytest.raises(UserError, match=r"No space left on device.: make room there"):
        trainer.run()
    trainer.close()
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert same(weights(run(config(), tmp_path / "run")), weights(whole))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


# -- what is only shown ------------------------------------------------------------------------------------


def test_videos_that_fail_are_one_warning_each_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(config(**WITH_VIDEOS), tmp_path)
    (tmp_path / "videos").touch()  # no folder can be made there
    assert trainer.run()
    trainer.close()
    endings = [record.message.partition("From here on ")[2] for record in caplog.records]
    assert endings == ["videos are written as .gif.", "videos are left out."]


@pytest.mark.parametrize("a_file", [False, True])
def test_a_lost_folder_of_tensorboard_stops_no_run(
    a_file: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, folder = Trainer(config(steps=400), tmp_path), tmp_path / "tensorboard"

    def lose() -> None:
        shutil.rmtree(folder)
        if a_file:
            folder.touch()

    call_after(trainer, "_interact", 120, lose)
    assert trainer.run()
    trainer.close()
    assert metrics(tmp_path)[-1]["env_step"] == 400
    assert len(caplog.records) == a_file
