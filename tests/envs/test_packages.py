"""The commands of docs/environments.md make their environments, with the real packages."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dreamer.arguments import read
from dreamer.config import Config
from dreamer.envs import make_env, spec_of
from dreamer.presets import preset

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
COMMANDS = re.findall(r"^dreamer train (--env .*)$", PAGE.read_text(), re.M)
PACKAGES = {
    "minigrid": "minigrid",
    "LunarLander": "Box2D",
    "CarRacing": "Box2D",
    "highway_env": "highway_env",
    "robotics": "gymnasium_robotics",
    "atari": "ale_py",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the packages
@pytest.mark.parametrize("command", COMMANDS)
def test_command_makes_an_environment_that_can_be_stepped(command: str) -> None:
    for word, package in PACKAGES.items():
        if word in command:
            pytest.importorskip(package)
    config = read(Config, shlex.split(command), "dreamer train", default=preset("debug")).environment
    env = make_env(config)
    spec, random = spec_of(env), np.random.default_rng(0)
    pictured = "render" in command or not any(word in command for word in ("state", "image,", "observation"))
    assert bool(spec.images) == pictured
    env.reset(seed=0)
    for _ in range(5):
        action = random.uniform(-1, 1, spec.action.size).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        assert env.observation_space.contains(observation)
        assert np.isfinite(float(reward))
        if terminated or truncated:
            env.reset(seed=1)
    env.close()


def test_page_has_commands_for_every_package() -> None:
    assert all(any(word in command for command in COMMANDS) for word in PACKAGES)
