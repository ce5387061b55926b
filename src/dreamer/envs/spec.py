"""Describe an environment's spaces as an `EnvSpec`."""

from dataclasses import replace

import gymnasium as gym
from gymnasium import spaces

from dreamer.envs.native import native_spaces
from dreamer.errors import UserError
from dreamer.types import ActionSpec, EnvSpec

RESERVED = ("action", "reward", "discount", "is_first", "pcont", "contrast")
"""Names that no observation may have: other keys of a batch, and other losses."""


def spec_of(env: gym.Env) -> EnvSpec:
    """Describe an environment made by `make_env`.

    Raises:
        UserError: an observation is neither a uint8 image `(H, W, C)` nor a float32 vector `(n,)`, or its name is
            one of `RESERVED`.
    """
    action_space = env.action_space
    assert isinstance(action_space, spaces.Box)
    groups = env.get_wrapper_attr("action_groups") if env.has_wrapper_attr("action_groups") else ()
    spec = spec_from_space(env.observation_space, ActionSpec(action_space.shape[0], groups))
    return replace(spec, spaces=native_spaces(env))


def spec_from_space(observation_space: gym.Space, action: ActionSpec) -> EnvSpec:
    """Sort the keys of a `Dict` space into images and vectors. Raises `UserError` as `spec_of`."""
    if not isinstance(observation_space, spaces.Dict):
        raise UserError(f"An environment must show a dictionary of observations, not {observation_space}.")
    images: dict[str, tuple[int, int, int]] = {}
    vectors: dict[str, int] = {}
    for key, space in observation_space.spaces.items():
        _require_free(key)
        if isinstance(space, spaces.Box) and space.dtype == "uint8" and len(space.shape) == 3:
            height, width, channels = space.shape
            images[key] = (height, width, channels)
        elif isinstance(space, spaces.Box) and space.dtype == "float32" and len(space.shape) == 1:
            vectors[key] = space.shape[0]
        else:
            raise UserError(f"The observation {key!r} must be a uint8 image or a vector, not {space}.")
    return EnvSpec(images, vectors, action)


def _require_free(key: object) -> None:
    """Raise `UserError` for a key that would replace another part of a batch, or a metric."""
    if not isinstance(key, str) or key in RESERVED:
        problem = "has a reserved name" if key in RESERVED else "has no name"
        raise UserError(f"The observation {key!r} {problem}: rename it in the environment.")
