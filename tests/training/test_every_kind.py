"""Every agent, objective and kind of task through a whole short run; what is refused before one."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.export.policy import load_policy
from dreamer.logs.open_loop import predict
from dreamer.storage.load import load_run
from dreamer.training.evaluate import evaluate
from dreamer.training.trainer import Trainer
from training.runs import config, everything, metrics, run, same

SAMPLES = Path(__file__).parents[1] / "envs"
QUICK = {"steps": 300, "eval_every": 0, "train_steps": 2}
PLAN = {"plan_horizon": 3, "plan_iterations": 2, "plan_candidates": 20, "plan_elites": 4}


def finished(logdir: Path, **options: Any) -> Trainer:
    """A whole run; its last evaluation is in the metrics."""
    trainer = run(config(**{**QUICK, **options}), logdir)
    assert "eval/return" in metrics(logdir)[-1]
    return trainer


@pytest.mark.parametrize("agent", ["dreamer", "no-value", "planet"])
def test_every_agent_trains_on_images(agent, tmp_path: Path) -> None:
    trainer = finished(tmp_path, agent=agent, num_envs=1, **PLAN)
    assert trainer.counters.grad_step > 0


def test_random_agent_collects_and_evaluates_without_updates(tmp_path: Path) -> None:
    trainer = finished(tmp_path, agent="random", video_every=100, eval_every=150)
    assert trainer.counters.grad_step == 0
    with pytest.raises(UserError, match="no world model"):
        predict(trainer.agent, trainer.store, seed=0)


@pytest.mark.parametrize("objective", ["contrastive-tf1", "reward-only"])
def test_objectives_without_reconstruction_train_a_decoder_for_videos(objective, tmp_path: Path) -> None:
    trainer = finished(tmp_path, objective=objective, video_every=100)
    recorded = {key for line in metrics(tmp_path) for key in line}
    assert ("model/contrast_loss" in recorded) == (objective == "contrastive-tf1")
    assert {"model/image_loss", "decoder/grad_norm"} <= recorded
    assert predict(trainer.agent, trainer.store, seed=0).model.shape[2:] == (32, 32, 3)


@pytest.mark.parametrize("options", [{"agent": "planet", **PLAN}, {"objective": "contrastive"}], ids=str)
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(options, tmp_path: Path) -> None:
    settings = config(**{**QUICK, **options})
    whole = run(settings, tmp_path / "whole")
    run(settings, tmp_path / "parts", stop=("_interact", 130))
    parts = run(settings, tmp_path / "parts")
    assert same(everything(whole), everything(parts))


@pytest.mark.parametrize("size", [22, 32, 84, 96, 128])
def test_every_image_size_trains(size, tmp_path: Path) -> None:
    trainer = finished(tmp_path, image_size=size, steps=250, batch_length=4)
    assert predict(trainer.agent, trainer.store, seed=0).model.shape[2:] == (size, size, 3)


def test_images_that_cannot_be_encoded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--image-size is 21"):
        Trainer(config(image_size=21), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("agent", ["dreamer", "planet"])
def test_every_agent_trains_on_state_vectors(agent, tmp_path: Path) -> None:
    finished(tmp_path, obs="state", agent=agent, **PLAN)


@pytest.fixture
def _samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))


ENDING = {"action_repeat": 1, "pcont": True, "prefill": 50, "steps": 120, "train_every": 20}


@pytest.mark.usefixtures("_samples")
@pytest.mark.parametrize("name", ["Everything", "OddNames", "Buttons", "Panel"])
def test_run_with_dictionary_observations_and_discrete_actions(name, tmp_path: Path) -> None:
    # Episodes of five frames: every row of a batch is packed of several.
    trainer = finished(tmp_path, env=f"gym:sample_environments:{name}-v0", obs="state", **ENDING)
    assert "model/pcont_loss" in {key for line in metrics(tmp_path) for key in line}
    episode = trainer.store.episode(trainer.store.ids[0])
    assert episode["discount"].tolist() == [1, 1, 1, 1, 1, 0]
    assert trainer.envs.spec.action.discrete == (name in ("Buttons", "Panel"))


@pytest.mark.usefixtures("_samples")
def test_observations_may_have_any_name_that_is_free(tmp_path: Path) -> None:
    trainer = finished(tmp_path / "run", env="gym:sample_environments:OddNames-v0", **ENDING)
    recorded = {key for line in metrics(tmp_path / "run") for key in line}
    assert {"model/values_loss", "model/robot.arm_loss"} <= recorded
    assert predict(trainer.agent, trainer.store, seed=0).model.shape[2:] == (32, 32, 3)
    export_run(tmp_path / "run", tmp_path / "policy.pt")
    observation = {key: x[0] for key, x in trainer.store.episode(trainer.store.ids[0]).items()}
    assert load_policy(tmp_path / "policy.pt").act(observation).shape == (2,)


def test_discount_tells_ends_from_time_limits(tmp_path: Path) -> None:
    trainer = finished(tmp_path, env="toy:terminating", **{**ENDING, "time_limit": 6})
    for number in trainer.store.ids:
        discount = trainer.store.episode(number)["discount"]
        assert discount[:-1].all()
        assert discount[-1] == 0 or len(discount) == 7  # an end by itself, or after six frames
    ends = {float(trainer.store.episode(number)["discount"][-1]) for number in trainer.store.ids}
    assert ends == {0.0, 1.0}


@pytest.mark.render
def test_a_pendulum_that_falls_is_trained_on_images(tmp_path: Path) -> None:
    """Gymnasium's renderer shows a view turned upside down, of the size that the networks want."""
    trainer = finished(tmp_path / "run", env="gym:InvertedPendulum-v5", **{**ENDING, "action_repeat": 2})
    assert {"model/image_loss", "model/pcont_loss"} <= {k for m in metrics(tmp_path / "run") for k in m}
    assert trainer.store.episode(trainer.store.ids[0])["discount"][-1] == 0
    loaded = load_run(tmp_path / "run")
    with closing(loaded.make_envs()) as envs:
        assert len(evaluate(loaded.agent, envs, 2, 0, video=True).returns) == 2


def test_planet_with_buttons_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--agent planet plans continuous actions only"):
        Trainer(config(env="gym:CartPole-v1", obs="state", agent="planet"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_older_than_an_option_goes_on_with_its_default(tmp_path: Path) -> None:
    settings = config(**QUICK)
    run(settings, tmp_path, stop=("_interact", 130))
    file = tmp_path / "config.json"
    options = json.loads(file.read_text())
    del options["kl_scale"]
    file.write_text(json.dumps(options))
    assert run(settings, tmp_path).resumed
    file.write_text(json.dumps({**options, "kl_scale": 0.5}))
    with pytest.raises(UserError, match="kl_scale"):
        Trainer(settings, tmp_path)


def test_evaluation_of_a_game_is_not_cut_by_a_lost_life(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    game = {"env": "atari:breakout", "action_repeat": 4, "time_limit": 2000, "agent": "random"}
    trainer = Trainer(config(**{**QUICK, **game, "steps": 4}), tmp_path)
    trainer.close()
    games = [envs._env.unwrapped for envs in (trainer.envs, trainer.eval_envs) if envs._env]
    assert [getattr(game, "_life_loss", None) for game in games] == [True, False]


def test_run_on_an_atari_game(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    game = {"env": "atari:pong", "action_repeat": 4, "time_limit": 200, "pcont": True, "clip_rewards": "tanh"}
    trainer = finished(tmp_path, **game, prefill=400, steps=800, train_every=200, env_args={"gray": True})
    assert trainer.envs.spec.images == {"image": (32, 32, 1)}
    loaded = load_run(tmp_path)
    assert loaded.config.environment.env_args == ("gray=True",)
