"""The toy environments keep what they promise."""

import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import make_env

DOT = EnvConfig(env="toy:dot", obs="state")


def score(policy, config: EnvConfig = DOT) -> float:
    """Mean reward per frame over four episodes."""
    env = make_env(config)
    total, frames = 0.0, 0
    for seed in range(4):
        state, done = env.reset(seed=seed)[0]["state"], False
        while not done:
            observation, reward, terminated, truncated, info = env.step(policy(state))
            state, done = observation["state"], terminated or truncated
            total, frames = total + float(reward), frames + info["frames"]
    assert frames == 400
    return total / frames


def test_the_dot_rewards_the_way_to_the_center() -> None:
    generator = np.random.default_rng(0)
    assert score(lambda state: np.clip(-state / 0.2, -1, 1)) > 0.9
    assert score(lambda state: generator.uniform(-1, 1, 2)) < 0.35
    assert score(lambda state: np.zeros(2)) < 0.1


def test_the_slope_rewards_the_way_to_the_right() -> None:
    slope = EnvConfig(env="toy:slope", obs="state")
    assert score(lambda _: np.array([1, 0]), slope) > 0.85
    assert score(lambda _: np.array([-1, 0]), slope) < 0.1
    assert score(lambda state: np.array([0, -state[1]]), slope) < 0.6  # the other axis is no matter


def test_the_dot_is_drawn_where_it_is() -> None:
    env = make_env(EnvConfig(env="toy:dot"))
    image = env.reset(seed=0)[0]["image"]
    rows, columns = np.nonzero(image[..., 0] > 200)
    x, y = env.get_wrapper_attr("_position")
    axis = np.linspace(-1.2, 1.2, 64)
    assert axis[columns].mean() == pytest.approx(x, abs=0.05)
    assert axis[rows].mean() == pytest.approx(y, abs=0.05)


def test_the_terminating_environment_ends_by_itself_at_seeded_lengths() -> None:
    env = make_env(EnvConfig(env="toy:terminating", action_repeat=1))
    lengths, length, terminated = [], 0, False
    for seed in range(20):
        env.reset(seed=seed)
        for length in range(1, 13):
            _, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
            assert reward == length
            assert not truncated
            if terminated:
                break
        assert terminated
        lengths.append(length)
    assert min(lengths) >= 3
    assert len(set(lengths)) > 3
