"""Decisions 40 ms apart, where no repeat is given."""

import pytest

from dreamer.config import Config, EnvConfig, with_options
from dreamer.envs.decision_time import settled, with_decisions
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
def test_frames_of_a_decision(env: str, frames: int) -> None:
    assert with_decisions(EnvConfig(env=env, action_repeat=0)).action_repeat == frames
    assert with_decisions(EnvConfig(env=env, action_repeat=7)).action_repeat == 7


def test_the_environment_takes_them() -> None:
    env = make_env(EnvConfig(env="dmc:cartpole_swingup", obs="state", action_repeat=0))
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["frames"] == 4
    env.close()


def test_a_run_keeps_the_number() -> None:
    open_config = with_options(Config(), {"env": "dmc:cartpole_balance", "action_repeat": 0, "seed": 3})
    assert settled(open_config) == with_options(open_config, {"action_repeat": 4})
    with pytest.raises(UserError, match="walker_stnd"):
        settled(with_options(open_config, {"env": "dmc:walker_stnd"}))
