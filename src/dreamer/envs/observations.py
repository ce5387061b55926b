"""What the agent sees: always a dictionary of uint8 images `(H, W, C)` and float32 vectors `(n,)`."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten_space
from PIL import Image

from dreamer.config import EnvConfig
from dreamer.envs.conversion import Convert, image_of, vector_conversion
from dreamer.envs.failures import EnvFailure, definition
from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

MIN_IMAGE = 16
"""Fewest pixels along one side of an image."""


def unify_observations(env: gym.Env, config: EnvConfig) -> gym.Env:
    """Wrap `env` so that it shows a dictionary, of what `config.obs` asks for.

    `image`: the environment's own images (with the vectors beside them, if it shows a dictionary), or else
    `render()` under the name `image`. `state`: the environment's vectors; a single one is named `state`.

    Raises:
        UserError: an observation fits neither, is too small, or is not there.
    """
    space = env.observation_space
    if config.obs == "image" and not shows_image(space):
        return DictObservation(RenderedEnv(env, config.env), "image", config)
    if isinstance(space, spaces.Dict):
        return DictObservation(env, None, config)
    return DictObservation(env, config.obs, config)


def is_image(space: gym.Space | None) -> bool:
    """Whether this is a `Box` of images: uint8 of two or three axes; of three also integers or floats in [0, 1]."""
    if not isinstance(space, spaces.Box):
        return False
    if space.dtype == np.uint8:
        return len(space.shape) in (2, 3)
    highest = 1 if space.dtype.kind == "f" else 255
    return len(space.shape) == 3 and bool((space.low >= 0).all() and (space.high <= highest).all())


def shows_image(space: gym.Space | None) -> bool:
    """Whether the environment shows an image by itself."""
    leaves = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    return any(is_image(leaf) for leaf in leaves)


class RenderedEnv(gym.ObservationWrapper):
    """Show what `render()` returns, in place of the environment's own observation.

    Raises:
        EnvFailure: it returns no image.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        first = image_of(self.observation(None), f"The image that {name} renders")
        self.observation_space = spaces.Box(0, 255, first.shape, np.uint8)

    def observation(self, observation: Any) -> Any:
        image: Any = self.env.render()
        if image is None:
            place = definition(self.env, "render")
            raise EnvFailure(
                f"{self._name} returned no image from render{place}: it must where render_mode is rgb_array, which "
                "__init__ must keep."
            )
        return image


class DictObservation(gym.ObservationWrapper):
    """Convert every part of an observation to an image of the right size, or to a vector.

    `key` names the only part of an environment that shows no dictionary.
    """

    def __init__(self, env: gym.Env, key: str | None, config: EnvConfig) -> None:
        super().__init__(env)
        self._key, self._name = key, config.env
        space = env.observation_space
        parts = space.spaces if isinstance(space, spaces.Dict) and key is None else {key or "": space}
        if config.obs == "state":
            parts = {name: part for name, part in parts.items() if not is_image(part)}
        parts = _without_words(parts, config.env)
        if not parts:
            raise UserError(f"{config.env} shows images only, no state vector: use --obs image.")
        self.parts = parts
        self._convert: dict[str, Convert] = {}
        shown: dict[str, gym.Space] = {}
        for name, part in parts.items():
            subject = f"The observation {name!r} of {config.env}"
            if isinstance(env, RenderedEnv):
                subject = f"The image that {config.env} renders"
            shown[name], self._convert[name] = _conversion(part, subject, config)
        self.observation_space = spaces.Dict(shown)

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        parts = observation if self._key is None else {self._key: observation}
        if not isinstance(parts, dict) or not self._convert.keys() <= parts.keys():
            given = list(parts) if isinstance(parts, dict) else type(parts).__name__
            raise EnvFailure(f"{self._name} returned {given} where {list(self._convert)} are declared.")
        return {name: convert(parts[name]) for name, convert in self._convert.items()}


def _without_words(parts: dict[str, gym.Space], name: str) -> dict[str, gym.Space]:
    """Leave out texts and other parts without a fixed count of numbers, with a warning, where others remain."""
    kept = {key: part for key, part in parts.items() if _has_numbers(part)}
    if not kept or len(kept) == len(parts):
        return parts
    left_out = ", ".join(repr(key) for key in parts if key not in kept)
    _logger.warning(
        "%s shows %s, which cannot be made numbers of: the agent does not see it.", name, left_out
    )
    return kept


def _has_numbers(space: gym.Space) -> bool:
    """Whether the space has a fixed count of numbers; nested spaces are left to `_conversion`, which refuses them."""
    if isinstance(space, spaces.Tuple | spaces.Dict):
        return True
    if isinstance(space, spaces.Text):  # Gymnasium would number its letters
        return False
    try:
        return space.is_np_flattenable
    except NotImplementedError:  # a space of the user's own
        return False


def _conversion(space: gym.Space, subject: str, config: EnvConfig) -> tuple[spaces.Box, Convert]:
    """The space to show in place of `space`, and the function that leads there."""
    if is_image(space):
        assert space.shape is not None
        return _image_conversion(space.shape, subject, config.image_size)
    if isinstance(space, spaces.Box) and (len(space.shape) > 2 or 0 in space.shape):
        raise UserError(
            f"{subject} is {space}: images must be uint8 (height, width, channels), or floats in [0, 1], and "
            "vectors must not be empty."
        )
    if isinstance(space, spaces.Tuple | spaces.Dict) or not _has_numbers(space):
        raise UserError(f"{subject} is {space}: neither image nor vector.")
    vector = spaces.Box(-np.inf, np.inf, flatten_space(space).shape, np.float32)
    return vector, vector_conversion(space, subject)


def _image_conversion(shape: tuple[int, ...], subject: str, size: int) -> tuple[spaces.Box, Convert]:
    if min(shape[:2]) < MIN_IMAGE:
        hint = " (channels come last)" if len(shape) == 3 and shape[0] < MIN_IMAGE <= shape[2] else ""
        raise UserError(f"{subject} has shape {shape}: height and width must be at least {MIN_IMAGE}{hint}.")

    def convert(value: Any) -> np.ndarray:
        image = image_of(value, subject)
        if image.shape != shape:
            raise EnvFailure(f"{subject} has shape {image.shape} where {shape} is declared.")
        return resize(image, size)

    return spaces.Box(0, 255, (size, size, shape[2] if len(shape) == 3 else 1), np.uint8), convert


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a uint8 image `(H, W)` or `(H, W, C)` to `(size, size, C)`: means of areas, or bilinear.

    The result is always an array of its own: many environments draw into one array again and again, while
    episodes and films keep what was shown.
    """
    image = image if image.ndim == 3 else image[..., None]
    if image.shape[:2] == (size, size):
        return image.copy()
    shrinks = min(image.shape[:2]) >= size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    if image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize((size, size), method))
    # Pillow has no general images of many channels, and would weight the first three by a fourth.
    channels = [Image.fromarray(channel).resize((size, size), method) for channel in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
