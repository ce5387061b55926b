"""Wrappers that Gymnasium does not have: the frame repeat, and a check of what an environment returns."""

import textwrap
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamer.envs.failures import OLD_STEP, calling, close, definition
from dreamer.errors import UserError

SEEDS = 2**31
"""Seeds of episodes lie below: C libraries keep them in 32 bits with a sign."""

Step = tuple[Any, float, bool, bool, dict[str, Any]]


class FrameRepeat(gym.Wrapper):
    """Take each action for several frames and add up their rewards; stop early where an episode ends.

    `info["frames"]` says how many frames were taken. Images are drawn by a wrapper around this one, so
    once per agent step.
    """

    def __init__(self, env: gym.Env, repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: Any) -> Step:
        total, frames = 0.0, 0
        while True:
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            frames += 1
            if terminated or truncated or frames == self._repeat:
                return observation, total, terminated, truncated, {**info, "frames": frames}


class CheckedEnv(gym.Wrapper):
    """Stop at the first observation outside the declared space, or reward that is not a finite number.

    Raises:
        UserError: says which environment, which part, and what is wrong with it; or which call has failed,
            why, and where that stands.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        for space in ("observation_space", "action_space"):
            if not isinstance(getattr(env, space, None), gym.Space):
                place = definition(env, "__init__")
                raise UserError(f"{name} has no {space}: set it to a Gymnasium space in __init__{place}.")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        seed = None if seed is None else seed % SEEDS
        with calling(self._name, "reset", self.env):
            returned = self.env.reset(seed=seed, options=options)
        if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], dict):
            place = definition(self.env, "reset")
            raise UserError(f"{self._name} must return observation, info from reset (info a dict){place}.")
        observation, info = returned
        self._check(observation)
        return observation, info

    def step(self, action: Any) -> Step:
        with calling(self._name, "step", self.env):
            returned = self.env.step(action)
        observation, reward, terminated, truncated, info = self._five(returned)
        self._check(observation)
        return observation, reward_of(reward, self._name), bool(terminated), bool(truncated), info

    def render(self) -> Any:
        with calling(self._name, "render", self.env):
            return self.env.render()

    def close(self) -> None:
        close(self.env, self._name)

    def _five(self, returned: Any) -> Step:
        """Unpack what `step` returned."""
        if isinstance(returned, tuple) and len(returned) == 5 and isinstance(returned[4], dict):
            return returned  # pyright: ignore[reportReturnType]
        place = definition(self.env, "step")
        if isinstance(returned, tuple) and len(returned) == 4:
            raise UserError(OLD_STEP.format(name=self._name, place=place))
        raise UserError(
            f"{self._name} must return observation, reward, terminated, truncated, info (a dict) from step{place}."
        )

    def _check(self, observation: Any) -> None:
        problem = misfit(self.env.observation_space, observation)
        if problem:
            raise UserError(f"{self._name} returned an observation outside its space: {problem}.")


def reward_of(reward: Any, name: str) -> float:
    """Convert a reward: a number of any type, or an array or list that holds exactly one, `(1,)` or `(1, 1)`.

    Raises:
        UserError: it is not one finite number; the message says what `name` returned.
    """
    try:
        array = np.asarray(reward)
    except (TypeError, ValueError):  # lists of unequal lengths
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise UserError(f"{name} returned the reward {_brief(reward)}: it must be one finite number.")
    return float(array.item())


def _brief(value: Any) -> str:
    """Show a value in one short line."""
    return textwrap.shorten(repr(value), 80, placeholder=" ...")


def misfit(space: gym.Space, value: Any, name: str = "it") -> str | None:
    """Say what is wrong with `value` as an element of `space`, or return None.

    Other float types than the declared one are let pass, and so is rounding at the bounds.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or value.keys() != space.spaces.keys():
            keys = list(value) if isinstance(value, dict) else type(value).__name__
            return f"{name} has {keys} where {list(space.spaces)} are declared"
        problems = (misfit(part, value[key], repr(key)) for key, part in space.spaces.items())
        return next((problem for problem in problems if problem), None)
    if isinstance(space, spaces.Box):
        return _box_misfit(space, np.asarray(value), name)
    return None if space.contains(value) else f"{name} is {value!r}, which is not in {space}"


def _box_misfit(space: spaces.Box, value: np.ndarray, name: str) -> str | None:
    if value.shape != space.shape:
        return f"{name} has shape {value.shape} where {space.shape} is declared"
    if not np.can_cast(value.dtype, space.dtype, "same_kind"):
        return f"{name} has type {value.dtype} where {space.dtype} is declared"
    if value.dtype == space.dtype == np.uint8 and space.low.max() == 0 and space.high.min() == 255:
        return None  # Every such value fits, and an image has many.
    if not np.isfinite(value).all():
        return f"{name} holds NaN or infinity"
    slack = 1e-4 * np.maximum(1, np.abs(value))
    if np.any(value < space.low - slack) or np.any(value > space.high + slack):
        return f"{name} reaches from {value.min():.6g} to {value.max():.6g}, beyond its declared bounds"
    return None
