"""The number that stands for `--action-repeat auto`."""

import pytest

from dreamer.config import Config, EnvConfig, with_options
from dreamer.envs.action_repeat import resolve
from dreamer.envs.make import make_env
from dreamer.errors import UserError


@pytest.mark.parametrize(
    ("env", "frames"),
    [
        ("dmc:cartpole_swingup", 4),  # frames of 10 ms
        ("dmc:cup_catch", 2),  # 20 ms, by an alias
        ("dmc:walker_walk", 2),  # 25 ms
        ("dmc:fish_swim", 1),  # 40 ms
        ("atari:pong", 4),
        ("toy:dot", 2),
        ("gym:InvertedPendulum-v5", 2),
    ],
)
def test_auto_is_a_number_of_the_task(env: str, frames: int) -> None:
    config = with_options(Config(), {"env": env, "action_repeat": "auto", "seed": 3})
    assert resolve(config) == with_options(config, {"action_repeat": frames})


def test_a_given_number_stays() -> None:
    config = with_options(Config(), {"env": "dmc:cartpole_swingup", "action_repeat": 7})
    assert resolve(config) == config


def test_an_unknown_task_is_a_user_error() -> None:
    with pytest.raises(UserError, match="walker_stnd"):
        resolve(with_options(Config(), {"env": "dmc:walker_stnd", "action_repeat": "auto"}))


def test_an_environment_is_made_with_a_number_only() -> None:
    with pytest.raises(UserError, match="--action-repeat auto must be replaced by a number first"):
        make_env(EnvConfig(env="toy:dot", action_repeat="auto"))
