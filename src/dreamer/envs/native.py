"""An environment's own observations and actions, as an exported policy takes and returns them.

A policy file has the spaces in plain values, so that no simulator is needed to convert as the wrappers do in training.
"""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamer.envs.actions import unify_actions
from dreamer.envs.conversion import brightest, image_axes, image_of, vector_conversion
from dreamer.envs.observations import DictObservation, resize
from dreamer.envs.wrappers import CheckedEnv
from dreamer.errors import UserError
from dreamer.types import LARGEST, EnvSpec, Observation

ACTION = "action"
"""Name of the action's space among those of the observations, none of which may have it."""


def native_spaces(env: gym.Env) -> dict[str, Any]:
    """Describe the spaces of the observations and of the action of an environment, before our wrappers convert them."""
    found: dict[str, Any] = {}
    while isinstance(env, gym.Wrapper):
        if isinstance(env, DictObservation):
            found |= {key: describe(space) for key, space in env.parts.items()}
        if isinstance(env, CheckedEnv):
            found |= {ACTION: describe(env.action_space)}
        env = env.env
    return {key: plain for key, plain in found.items() if plain}


def describe(space: gym.Space) -> dict[str, Any] | None:
    """Return a space in plain values, or None if it is none of those that become vectors or actions."""
    if isinstance(space, spaces.Box):
        bounds = {"low": _brief(space.low), "high": _brief(space.high), "shape": list(space.shape)}
        return {"kind": "Box", **bounds, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    return None


def space_from(plain: Mapping[str, Any]) -> gym.Space:
    """Return the space that `describe` has described."""
    arguments = {key: value for key, value in plain.items() if key != "kind"}
    if plain["kind"] == "Box":
        dtype, shape = np.dtype(plain["dtype"]), tuple(plain["shape"])
        if math.prod(shape) > LARGEST:
            raise ValueError(f"a space of {math.prod(shape):,} numbers is too large")
        arguments = {side: np.full(shape, plain[side], dtype) for side in ("low", "high")} | {
            "dtype": dtype.type
        }
    return getattr(spaces, plain["kind"])(**arguments)


def _brief(bound: np.ndarray) -> Any:
    """Return a bound as nested lists, or as one number if it is the same everywhere."""
    return bound.flat[0].item() if bound.size and (bound == bound.flat[0]).all() else bound.tolist()


class Native:
    """Converts observations of an environment to the agent's, and actions back; `name` is for messages.

    Where the spec has no spaces, as in files of older versions, vectors must be flat and actions stay as they are.
    """

    def __init__(self, spec: EnvSpec, name: str):
        self.spec, self._name = spec, name
        self._vectors = {
            key: space_from(spec.spaces[key]) if key in spec.spaces else spaces.Box(-np.inf, np.inf, (size,))
            for key, size in spec.vectors.items()
        }
        self._convert = {
            key: vector_conversion(space, self._subject(key)) for key, space in self._vectors.items()
        }
        self._env = (
            unify_actions(_Takes(space_from(spec.spaces[ACTION])), name) if ACTION in spec.spaces else None
        )

    def observation(self, observation: Any) -> tuple[Observation, bool]:
        """Return images `(N, H, W, C)` and vectors `(N, n)` by key, and whether it was a single observation.

        `observation` is a dictionary, nested or with keys such as `robot/arm`, or the only part itself; images
        may have any size. Raises `UserError` for what is missing, has another shape, or is no image.
        """
        parts: Observation = {}
        single: set[bool] = set()
        for key in (*self.spec.images, *self.spec.vectors):
            value = self._found(key, observation)
            shape = _shape(value)
            one = (
                len(shape) != self._axes(key, shape) + 1 or not shape[0]
            )  # what fits neither is refused as one
            parts[key] = np.stack([self._converted(key, row) for row in ([value] if one else value)])
            single.add(one)
        if len({len(rows) for rows in parts.values()}) > 1 or len(single) > 1:
            raise UserError("The parts of the observation are not equally many.")
        return parts, single.pop()

    def action(self, action: np.ndarray) -> Any:
        """Return the environment's own action for `(A,)`, or an array of N for `(N, A)`."""
        if action.ndim == 2:
            return np.stack([self.action(row) for row in action])
        env = self._env
        while isinstance(env, gym.ActionWrapper):
            action, env = env.action(action), env.env
        return action

    def _found(self, key: str, observation: Any) -> Any:
        """Return one part of an observation."""
        if not isinstance(observation, Mapping):
            known = [*self.spec.images, *self.spec.vectors]
            if len(known) > 1:
                raise UserError(f"This policy sees several things: give a dictionary of {', '.join(known)}.")
            return observation
        inside, value = key, observation
        while isinstance(value, Mapping) and inside not in value:
            outer, _, inside = inside.partition("/")
            value = value.get(outer)
        if not isinstance(value, Mapping):
            hint = "; env.render() may show it" if key == "image" else ""
            raise UserError(f"The observation {key!r} is missing: there are {', '.join(observation)}{hint}.")
        return value[inside]

    def _axes(self, key: str, shape: tuple[int, ...]) -> int:
        """Return how many axes a single one has; gray images may come without their last one."""
        if key in self._vectors:
            return len(self._vectors[key].shape or ())
        declared = tuple(self.spec.spaces.get(key, {}).get("shape", ()))
        if image_axes(declared) not in (None, (0, 1)) or len(declared) > 3:
            return len(declared)
        return 3 if shape[-1:] == self.spec.images[key][-1:] else 2

    def _converted(self, key: str, value: Any) -> np.ndarray:
        """Return one part of one observation as the agent takes it."""
        if key in self._vectors:
            return self._convert[key](value)
        highest = brightest(self.spec.spaces.get(key, {}).get("high", 255))
        image = image_of(value, self._subject(key), highest)
        *_, channels = shape = self.spec.images[key]
        if image.shape[2] != channels or 0 in image.shape:
            raise UserError(
                f"{self._subject(key)} has shape {image.shape}: it must have {channels} channels."
            )
        return resize(image, shape[0])

    def _subject(self, key: str) -> str:
        return f"The observation {key!r}"


def _shape(value: Any) -> tuple[int, ...]:
    """Return the shape of an array or of lists, and none for what is neither."""
    try:
        return np.shape(value)
    except ValueError:  # lists of unequal lengths
        return ()


class _Takes(gym.Env):
    """Has an action space, and nothing else."""

    def __init__(self, action_space: gym.Space) -> None:
        self.action_space = action_space
