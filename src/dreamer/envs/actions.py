"""Turn every kind of action space into one float32 vector (paper, Section 6 and Appendix A).

Actions of a `Box` are in [-1, 1] and rescaled to the environment's bounds. Actions of `Discrete` and
`MultiDiscrete` are one-hot vectors, concatenated.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction

from dreamer.errors import UserError


def unify_actions(env: gym.Env, name: str) -> gym.Env:
    """Wrap `env` so that its action is one vector in [-1, 1].

    Raises:
        UserError: the action space is neither a bounded `Box` of one axis, `Discrete` nor `MultiDiscrete`.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return OneHotAction(env, (int(space.n),))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return OneHotAction(env, tuple(int(number) for number in space.nvec))
    _require_bounded_box(space, name)
    return VectorAction(RescaleAction(env, np.float32(-1), np.float32(1)))


def _require_bounded_box(space: gym.Space, name: str) -> None:
    if not isinstance(space, spaces.Box):
        raise UserError(
            f"{name} has the action space {space}: only Box, Discrete and flat MultiDiscrete are supported."
        )
    if space.dtype not in (np.float32, np.float64) or len(space.shape) != 1 or space.shape[0] == 0:
        raise UserError(f"{name} has the action space {space}: it must be a Box of floats with one axis.")
    if not space.is_bounded():
        raise UserError(f"{name} has the unbounded action space {space}: give every action a finite range.")
    if np.any(space.low >= space.high):
        raise UserError(f"{name} has the action space {space}: each lower bound must be below the upper one.")


class VectorAction(gym.ActionWrapper):
    """Take actions in [-1, 1]^A: values outside are clipped, and values that are not finite raise `ValueError`."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._size = size_of(env.action_space)
        self.action_space = spaces.Box(-1, 1, (self._size,), np.float32)

    def action(self, action: Any) -> np.ndarray:
        return np.clip(checked_vector(action, self._size), -1, 1)


class OneHotAction(gym.ActionWrapper):
    """Turn concatenated one-hot vectors of the lengths `groups` into the environment's own integers."""

    def __init__(self, env: gym.Env, groups: tuple[int, ...]) -> None:
        super().__init__(env)
        self.action_groups = groups
        self._ends = np.cumsum(groups)[:-1]
        self._size = sum(groups)
        self.action_space = spaces.Box(-1, 1, (self._size,), np.float32)

    def action(self, action: Any) -> Any:
        vector = checked_vector(action, self._size)
        numbers = np.array([part.argmax() for part in np.split(vector, self._ends)])
        space = self.env.action_space
        assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
        chosen = (numbers + space.start).astype(space.dtype)
        return chosen[0] if isinstance(space, spaces.Discrete) else chosen


def size_of(space: gym.Space) -> int:
    """Return the length A of a `Box` of one axis."""
    assert space.shape is not None
    return space.shape[0]


def checked_vector(action: Any, size: int) -> np.ndarray:
    """Return the action as a float32 vector `(size,)`. Raises `ValueError` for any other shape, or NaN."""
    vector = np.asarray(action, np.float32)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"An action must be {size} finite numbers, not {vector} of shape {vector.shape}.")
    return vector
