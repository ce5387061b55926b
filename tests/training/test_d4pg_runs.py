"""D4PG through whole short runs: trained, stopped, gone on with, evaluated, exported; and a toy learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.export.policy import load_policy
from dreamer.logs.open_loop import predict
from dreamer.presets import preset
from dreamer.storage.load import load_run
from dreamer.training.evaluate import evaluate
from dreamer.training.trainer import Trainer
from training.runs import everything, metrics, run, same

RANDOM = 20.0
"""Mean return of random actions on `toy:dot`, for 100 frames."""


def config(**options: Any) -> Config:
    """A run of 600 frames of `toy:dot`: 12 episodes of 50 frames, the first 4 at random, two evaluations."""
    short = {"steps": 600, "time_limit": 50, "image_size": 32, "prefill": 200, "threads": 1, "device": "cpu"}
    schedule = {"train_every": 20, "train_steps": 2, "eval_every": 300, "checkpoint_every": 300}
    return with_options(preset("debug", agent="d4pg"), short | schedule | options)


WAYS: list[dict[str, Any]] = [
    {},
    {"replay_device": "disk", "priority": 0.0},
    {"obs": "image", "num_envs": 2, "replay_device": "disk"},
    {"replay_size": 200},
    {"async_collect": True},
]
"""Ways in which a run collects, and keeps and draws what it has collected."""


@pytest.fixture(scope="module", params=WAYS, ids=str)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run that nothing disturbed, in each of the ways."""
    return run(config(**request.param), tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("stop", [("_interact", 263), ("_update", 23)], ids=str)
def test_stopping_changes_nothing(whole: Trainer, stop: tuple[str, int], tmp_path: Path) -> None:
    run(whole.config, tmp_path / "parts", stop=stop)
    parts = run(whole.config, tmp_path / "parts")
    assert parts.resumed
    assert same(everything(whole), everything(parts))
    assert metrics(whole.run_directory.path) == metrics(tmp_path / "parts")


def test_ratio_of_updates_to_frames_is_exact(tmp_path: Path) -> None:
    trainer = run(config(), tmp_path)
    assert trainer.counters.grad_step == 2 * (1 + (600 - 200) // 20)


def test_priorities_come_back_to_the_replay(tmp_path: Path) -> None:
    state = run(config(), tmp_path).state_dict()["sampler"]
    assert len(state["priorities"]) == 600
    assert len(state["priorities"].unique()) > 100


@pytest.mark.parametrize("obs", ["state", "image"])
def test_the_exported_policy_acts_as_in_evaluation(obs: str, tmp_path: Path) -> None:
    run(config(obs=obs), tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    envs = loaded.make_envs()
    expected = evaluate(loaded.agent, envs, 1, seed=3).returns
    export_run(tmp_path / "run", tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt")
    assert evaluate(policy.agent, envs, 1, seed=3).returns == expected
    policy.reset()
    seen = envs.reset(0, 5)
    assert np.abs(policy.act(seen)).max() <= 1
    envs.close()


def test_videos_of_evaluation_are_written_and_there_is_nothing_to_predict(tmp_path: Path) -> None:
    trainer = run(config(obs="image", video_every=300), tmp_path)
    assert [path.name.split("-")[0] for path in sorted(trainer.run_directory.videos.iterdir())] == [
        "evaluation",
        "evaluation",
    ]
    with pytest.raises(UserError, match="no world model"):
        predict(trainer.agent, trainer.store, seed=0)


def test_discrete_actions_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--agent d4pg has continuous actions only"):
        Trainer(config(env="gym:CartPole-v1"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_own_options(tmp_path: Path) -> None:
    run(config(steps=300), tmp_path)
    with pytest.raises(UserError, match="n_step was 5, now 3"):
        Trainer(config(steps=300, n_step=3), tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("priority", [0.6, 0.0])
def test_a_toy_is_learned(priority: float, tmp_path: Path) -> None:
    learning = {"batch_size": 64, "actor_lr": 1e-3, "value_lr": 1e-3, "gamma": 0.9, "v_max": 10.0}
    schedule = {"time_limit": 100, "prefill": 500, "train_every": 100, "train_steps": 50, "eval_every": 0}
    run(config(steps=2500, target_every=20, priority=priority, **learning, **schedule), tmp_path)
    assert metrics(tmp_path)[-1]["eval/return"] > 3 * RANDOM
