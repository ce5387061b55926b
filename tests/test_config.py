"""Options: one flat name each, numbers in range, presets that hold what they say."""

import dataclasses
from typing import Any

import pytest

from dreamer.config import Config, check, from_flat, to_flat, with_options
from dreamer.errors import UserError
from dreamer.presets import PRESETS, preset


def test_every_option_has_a_name_of_its_own() -> None:
    names = [field.name for part in dataclasses.fields(Config) for field in dataclasses.fields(part.type)]  # type: ignore[arg-type]
    assert len(names) == len(set(names)) == len(to_flat(Config()))


def test_options_come_back() -> None:
    config = with_options(Config(), {"horizon": 7, "env": "toy:dot", "seed": 3})
    assert (config.behavior.horizon, config.environment.env, config.training.seed) == (7, "toy:dot", 3)
    assert from_flat(to_flat(config)) == config
    assert to_flat(config).keys() == to_flat(Config()).keys()


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(KeyError, match="horizzon"):
        with_options(Config(), {"horizzon": 7})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_fit_to_run(name: str) -> None:
    check(preset(name))
    assert preset("auto") in (preset("paper"), preset("laptop"))


@pytest.mark.parametrize("name", ["auto", "paper", "laptop", "atari"])
def test_an_atari_game_is_played_by_the_papers_settings_for_games(name: str) -> None:
    config = preset(name, "atari:boxing")
    check(config)
    options = to_flat(config)
    assert options["time_limit"] == 108_000
    assert (options["action_repeat"], options["horizon"], options["kl_scale"]) == (4, 10, 0.1)
    assert (options["pcont"], options["clip_rewards"]) == (True, "tanh")
    assert (options["units"] < 400) == (preset(name).model.units < 400)
    assert preset(name, "dmc:walker_walk") == preset(name)


def test_the_preset_paper_is_the_published_one() -> None:
    """Paper, Appendix A, and the official TF2 code."""
    published: dict[str, Any] = {
        "batch_size": 50,
        "batch_length": 50,
        "horizon": 15,
        "gamma": 0.99,
        "lambda_": 0.95,
        "model_lr": 6e-4,
        "actor_lr": 8e-5,
        "value_lr": 8e-5,
        "clip": 100.0,
        "free_nats": 3.0,
        "kl_scale": 1.0,
        "stoch": 30,
        "deter": 200,
        "expl_noise": 0.3,
        "action_repeat": 2,
        "image_size": 64,
        "seed_episodes": 5,
        "train_steps": 100,
        "train_every": 1000,
        "render": "canonical",
    }
    options = to_flat(preset("paper"))
    assert {name: options[name] for name in published} == published


def test_an_unknown_preset_names_the_others() -> None:
    with pytest.raises(UserError, match=f"There is no preset 'big': take auto, {', '.join(PRESETS)}"):
        preset("big")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "--steps must be above 0, got 0"),
        ("model_lr", -1.0, "--model-lr must be above 0, got -1.0"),
        ("model_lr", float("nan"), "--model-lr must be above 0"),
        ("kl_scale", float("inf"), "--kl-scale must be 0 or more"),
        ("seed", -1, "--seed must be 0 or more"),
        ("seed", 2**32, "--seed must be at most 4294967295"),
        ("seed_episodes", 0, "--seed-episodes must be above 0"),
        ("batch_size", 0, "--batch-size must be above 0"),
        ("num_envs", 0, "--num-envs must be above 0"),
        ("gamma", 1.1, "--gamma must be at most 1, got 1.1"),
        ("lambda_", 1.1, "--lambda must be at most 1, got 1.1"),
        ("horizon", 1, "--horizon must be at least 2"),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(with_options(Config(), {name: value}))


@pytest.mark.parametrize(
    "name", ["video_every", "eval_every", "pretrain", "capacity", "reward_layers", "seed"]
)
def test_zero_switches_off(name: str) -> None:
    check(with_options(Config(), {name: 0}))
