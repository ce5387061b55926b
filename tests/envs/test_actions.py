"""One vector in [-1, 1], or one-hot vectors, for every kind of action space."""

import numpy as np
import pytest
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs import ActionSpec, make_env, spec_of


def make(name: str):
    env = make_env(EnvConfig(env=f"gym:sample_environments:{name}-v0", obs="state", action_repeat=1))
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    ("action", "taken"),
    [([-1, -1], [0, -2]), ([1, 1], [1, 6]), ([0, 0.5], [0.5, 4]), ([3, -3], [1, -2])],
)
def test_box_actions_are_rescaled_to_the_bounds_and_clipped(action: list, taken: list) -> None:
    env = make("Sample")
    env.step(np.array(action, np.float32))
    np.testing.assert_allclose(env.get_wrapper_attr("last_action"), taken)
    assert env.get_wrapper_attr("last_action").dtype == np.float32


def test_a_one_hot_vector_becomes_the_discrete_action_with_its_start() -> None:
    env = make("Buttons")
    assert spec_of(env).action == ActionSpec(3, (3,))
    assert spec_of(env).action.discrete
    for index, one_hot in enumerate(np.eye(3, dtype=np.float32)):
        env.step(one_hot)
        assert env.get_wrapper_attr("last_action") == 5 + index
        assert env.unwrapped.action_space.contains(env.get_wrapper_attr("last_action"))


def test_concatenated_one_hot_vectors_become_a_multi_discrete_action() -> None:
    env = make("Panel")
    assert spec_of(env).action == ActionSpec(5, (2, 3))
    env.step(np.array([0, 1, 0, 0, 1], np.float32))
    assert env.get_wrapper_attr("last_action").tolist() == [1, 2]
    assert env.unwrapped.action_space.contains(env.get_wrapper_attr("last_action"))


def test_concatenated_one_hot_vectors_become_switches() -> None:
    env = make("Switches")
    assert spec_of(env).action == ActionSpec(8, (2, 2, 2, 2))
    env.step(np.array([0, 1, 1, 0, 1, 0, 0, 1], np.float32))
    assert env.get_wrapper_attr("last_action").tolist() == [[1, 0], [0, 1]]
    assert env.unwrapped.action_space.contains(env.get_wrapper_attr("last_action"))


def test_box_actions_have_the_shape_and_type_of_their_space() -> None:
    env = make("Grid")
    env.step(np.array([0.5, -1], np.float32))
    assert env.get_wrapper_attr("last_action").tolist() == [[1, -2]]
    assert env.unwrapped.action_space.contains(env.get_wrapper_attr("last_action"))


@pytest.mark.parametrize("name", ["Sample", "Buttons", "Panel", "Switches", "Grid"])
def test_the_action_space_is_always_one_vector(name: str) -> None:
    env = make(name)
    size = spec_of(env).action.size
    assert env.action_space == spaces.Box(-1, 1, (size,), np.float32)
    with pytest.raises(ValueError, match="finite numbers"):
        env.step(np.full(size, np.nan, np.float32))
    with pytest.raises(ValueError, match="finite numbers"):
        env.step(np.zeros(size + 1, np.float32))
