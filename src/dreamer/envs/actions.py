"""Turn every kind of action space into one float32 vector (paper, Section 6 and Appendix A).

Actions of a `Box` are in [-1, 1] and rescaled to the environment's bounds. Actions of `Discrete`, `MultiDiscrete` and
`MultiBinary` are one-hot vectors, concatenated.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction

from dreamer.envs.failures import brief
from dreamer.errors import UserError

LONGEST = 100_000
"""Most numbers in an action: the networks have a row of weights for each."""


def unify_actions(env: gym.Env, name: str) -> gym.Env:
    """Wrap `env` so that its action is one vector in [-1, 1].

    Raises:
        UserError: the action space is neither a bounded `Box` of floats, `Discrete`, `MultiDiscrete` nor `MultiBinary`.
    """
    space = env.action_space
    groups = _groups(space)
    if groups is None:
        _require_bounded_box(space, name)
    size = sum(groups) if groups else int(np.prod(space.shape or ()))
    if size > LONGEST:
        raise UserError(
            f"{name} has the action space {brief(space)}: {size:,} are more than {LONGEST:,} actions."
        )
    if groups is not None:
        return OneHotAction(env, groups)
    one = np.ones((), space.dtype)[()]
    return VectorAction(RescaleAction(env, -one, one))


def _groups(space: gym.Space) -> tuple[int, ...] | None:
    """Return how many values each integer of an action can take, or None if it has no integers."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(number) for number in space.nvec.flat)
    return (2,) * int(np.prod(space.shape)) if isinstance(space, spaces.MultiBinary) else None


def _require_bounded_box(space: gym.Space, name: str) -> None:
    has = f"{name} has the action space {brief(space)}"
    if not isinstance(space, spaces.Box):
        raise UserError(f"{has}: only Box, Discrete, MultiDiscrete and MultiBinary are supported.")
    if space.dtype.kind != "f" or 0 in space.shape:
        raise UserError(
            f"{has}: it must be a Box of floats that is not empty; MultiDiscrete is for integers."
        )
    if not space.is_bounded():
        raise UserError(f"{has}, which is unbounded: give every action a finite range.")
    if np.any(space.low >= space.high):
        raise UserError(f"{has}: each lower bound must be below the upper one.")


class VectorAction(gym.ActionWrapper):
    """Take actions in [-1, 1]^A: values outside are clipped, and values that are not finite raise `ValueError`."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._own = env.action_space
        self._size = int(np.prod(env.action_space.shape or ()))
        self.action_space = spaces.Box(-1, 1, (self._size,), np.float32)

    def action(self, action: Any) -> np.ndarray:
        vector = np.clip(checked_vector(action, self._size), -1, 1)
        return vector.reshape(self._own.shape).astype(self._own.dtype)


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
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            numbers = numbers.reshape(space.shape) + space.start
        chosen = numbers.reshape(space.shape).astype(space.dtype)
        return chosen[()] if isinstance(space, spaces.Discrete) else chosen


def checked_vector(action: Any, size: int) -> np.ndarray:
    """Return the action as a float32 vector `(size,)`. Raises `ValueError` for any other shape, or NaN."""
    vector = np.asarray(action, np.float32)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"An action must be {size} finite numbers, not {vector} of shape {vector.shape}.")
    return vector
