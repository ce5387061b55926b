"""The example for a user's own environment, shortened, and the same module by the command."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dreamer import cli
from dreamer.config import Config, with_options
from dreamer.envs.make import make_env
from dreamer.envs.spec import spec_of
from dreamer.presets import paper

EXAMPLES = Path(__file__).parents[1] / "examples"
SHORT: dict[str, Any] = {
    "steps": 500,
    "prefill": 200,
    "pretrain_model": 2,
    "train_steps": 2,
}
SHORT |= {"time_limit": 40, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module, without installing it."""
    spec = importlib.util.spec_from_file_location("own_environment", EXAMPLES / "own_environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options_of(example: ModuleType, **changes: Any) -> Config:
    """The configuration that the example trains with."""
    return with_options(paper(), example.OPTIONS | changes)


def test_the_example_trains_and_plays(example: ModuleType, tmp_path: Path) -> None:
    assert 0 <= example.main(tmp_path / "run", **SHORT) <= 40
    assert (tmp_path / "run" / "checkpoint").is_dir()


def test_the_examples_images_are_what_the_agent_sees(example: ModuleType) -> None:
    env = make_env(options_of(example).environment)
    assert spec_of(env).images == {"image": (32, 32, 3)}
    assert len(env.reset(seed=0)[0]["image"].reshape(-1, 3).tolist()) == 32 * 32
    env.close()


def test_the_examples_scores_are_as_documented(example: ModuleType) -> None:
    """Of random actions, and of going straight to the ball: what the learned score is to be seen between."""
    rng = np.random.default_rng(0)

    def to_the_ball(state: np.ndarray) -> np.ndarray:
        ball, _, basket = state
        return np.array([np.clip((ball - basket) / 0.6, -1, 1)], np.float32)

    assert 15 < _mean_return(example, lambda _: rng.uniform(-1, 1, 1).astype(np.float32)) < 30
    assert 75 < _mean_return(example, to_the_ball) < 90


def _mean_return(example: ModuleType, policy: Callable[[np.ndarray], np.ndarray]) -> float:
    env, total = make_env(options_of(example, obs="state").environment), 0.0
    for seed in range(40):
        (observation, _), done = env.reset(seed=seed), False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(policy(observation["state"]))
            total, done = total + float(reward), terminated or truncated
    env.close()
    return total / 40


OWN = """
import gymnasium as gym, numpy as np

class Own(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def __init__(self, render_mode=None): pass
    def reset(self, *, seed=None, options=None): return np.zeros(2, np.float32), {}
    def step(self, action): return np.zeros(2, np.float32), 1.0, False, False, {}

gym.register("Own-v0", Own)
"""


def test_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    options = ["--preset", "debug", "--obs", "state", "--env", "gym:own_module:Own-v0", "--steps", "300"]
    line = ["dreamer", "train", *options, "--time-limit", "40", "--device", "cpu", "--logdir", "run"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 0
    assert "Own-v0" in gym.registry
