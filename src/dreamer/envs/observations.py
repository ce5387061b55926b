"""What the agent sees: always a dictionary of uint8 images `(H, W, C)` and float32 vectors `(n,)`.

| `--obs` | what is seen |
|---|---|
| `image` | all that the environment shows, if there is an image among it; or else its picture from `render()` |
| `state` | all that it shows, without the images |
| `render` | its picture from `render()` |
| `front,arm/joints` | these parts; `arm` keeps all that is within |

The parts of nested dictionaries and tuples get the names `arm/joints` and `arm/0`. Something single is named `image` or
`state`, and a picture from `render()` is named `image`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from PIL import Image

from dreamer.config import EnvConfig
from dreamer.envs.conversion import MIN_IMAGE, Convert, brightest, image_axes, image_of, vector_conversion
from dreamer.envs.failures import EnvError, brief, definition
from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

LONGEST = 100_000
"""Numbers in the longest vector: the networks have a row of weights for each."""


def unify_observations(env: gym.Env, config: EnvConfig, first: Any) -> gym.Env:
    """Wrap `env` so that it shows a dictionary, of what `config.obs` asks for; `first` is its first observation.

    Raises:
        UserError: it does not show that, or what it shows is neither image nor vector.
    """
    if is_rendered(config.obs, env.observation_space):
        require_rendering(env, config)
        _warn_of_unseen(env, config)
        env = RenderedEnv(env, config.env)
        first = env.first
    shown = DictObservation(env, config)
    shown.observation(first)  # What never fits is told before the run begins.
    return shown


def is_rendered(obs: str, space: gym.Space | None) -> bool:
    """Whether the agent is to see what `render()` returns of an environment with this space."""
    return obs == "render" or (obs == "image" and not any(is_image(part) for _, part in _parts(space)))


def require_rendering(env: gym.Env, config: EnvConfig) -> None:
    """Raise `UserError` unless the environment declares that it renders to an array."""
    if "rgb_array" in ((env.metadata or {}).get("render_modes") or []):
        return
    lacks, others = "lists no", "use --obs image or --obs state"
    if config.obs == "image":
        lacks = "shows no image, and lists no"
        hidden = _undeclared_images(env.observation_space)
        others = f"declare images as {_IMAGES}" if hidden else "use --obs state"
    raise UserError(
        f'{config.env} {lacks} rgb_array in metadata["render_modes"]: {others}, or add it if render() returns pictures.'
    )


def _warn_of_unseen(env: gym.Env, config: EnvConfig) -> None:
    """Warn where the agent sees `render()` because what may be meant for an image is declared as none."""
    if config.obs != "image":
        return
    for name, part in _undeclared_images(env.observation_space).items():
        _logger.warning(
            "The observation %r of %s, %s, is declared as no image: the agent sees render() instead. Declare images "
            "as %s.",
            *(name, config.env, brief(part), _IMAGES),
        )


_IMAGES = "uint8, or floats in [0, 1]"


def _undeclared_images(space: gym.Space | None) -> dict[str, spaces.Box]:
    """Return what has the shape of an image with channels and other values, by its name."""
    return {
        _name(path, part): part
        for path, part in _parts(space)
        if isinstance(part, spaces.Box)
        and len(part.shape) > 2
        and _has_sides_of_an_image(part.shape)
        and not is_image(part)
    }


def is_image(space: gym.Space | None) -> bool:
    """Whether this is a `Box` of images: uint8, or with an axis of channels also integers or floats in [0, 1]."""
    if not isinstance(space, spaces.Box) or not image_axes(space.shape):
        return False
    if space.dtype == np.uint8:
        return True
    highest = 1 if space.dtype.kind == "f" else 255
    return len(space.shape) > 2 and bool((space.low >= 0).all() and (space.high <= highest).all())


class RenderedEnv(gym.ObservationWrapper):
    """Show `{"image": what render() returns}`, in place of the environment's own observation.

    Raises:
        EnvError: it returns no image.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        self.first = self.observation(None)
        image = image_of(self.first["image"], subject := f"The image that {name} renders")
        if image.max() == 1:
            _logger.warning(
                "%s is black (its brightest pixel is 1 of 255): is it meant to be floats?", subject
            )
        self.observation_space = spaces.Dict(image=spaces.Box(0, 255, image.shape, np.uint8))

    def observation(self, observation: Any) -> Any:
        image: Any = self.env.render()
        if image is None:
            place = definition(self.env, "render")
            raise EnvError(
                f"{self._name} returned no image from render{place}: it must where render_mode is rgb_array, which "
                "__init__ must keep."
            )
        return {"image": image}


class DictObservation(gym.ObservationWrapper):
    """Convert every part of an observation that the agent sees to an image of the right size, or to a vector.

    `parts` has the space of each part, before it is converted.
    """

    def __init__(self, env: gym.Env, config: EnvConfig) -> None:
        super().__init__(env)
        self._name = config.env
        found = {_name(path, space): (path, space) for path, space in _parts(env.observation_space)}
        every = {key: space for key, (_, space) in found.items()}
        if not every:
            raise UserError(
                f"{config.env} shows nothing: its observation space is {brief(env.observation_space)}."
            )
        if len(every) < len(list(_parts(env.observation_space))):
            raise UserError(
                f"{config.env} shows two parts by one name ({', '.join(every)}): rename one of them."
            )
        self.parts = _without_words(_chosen(every, config), config.env)
        self._paths = {key: found[key][0] for key in self.parts}
        self._convert: dict[str, Convert] = {}
        shown: dict[str, gym.Space] = {}
        for key, part in self.parts.items():
            rendered = isinstance(env, RenderedEnv)
            subject = (
                f"The image that {config.env} renders"
                if rendered
                else f"The observation {key!r} of {config.env}"
            )
            as_image = rendered or is_image(part)
            shown[key], self._convert[key] = _conversion(part, subject, as_image and config.image_size)
        self.observation_space = spaces.Dict(shown)

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        return {key: convert(self._part(observation, key)) for key, convert in self._convert.items()}

    def _part(self, observation: Any, key: str) -> Any:
        for inside in self._paths[key]:
            try:
                observation = observation[inside]
            except (KeyError, IndexError, TypeError):
                given = list(observation) if isinstance(observation, Mapping) else type(observation).__name__
                raise EnvError(f"{self._name} returned {given} where {inside!r} is declared.") from None
        return observation


Path = tuple[Any, ...]
"""Keys of dictionaries and indices of tuples that lead to a part of an observation."""


def _parts(space: gym.Space | None, path: Path = ()) -> Iterator[tuple[Path, gym.Space]]:
    """Yield every space inside of nested dictionaries and tuples, with the path that leads to it."""
    if isinstance(space, spaces.Dict):
        inner = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        inner = enumerate(space.spaces)
    elif space is None:
        return
    else:
        yield path, space
        return
    for key, part in inner:
        yield from _parts(part, (*path, key))


def _name(path: Path, space: gym.Space) -> str:
    return "/".join(map(str, path)) or ("image" if is_image(space) else "state")


def _chosen(parts: dict[str, gym.Space], config: EnvConfig) -> dict[str, gym.Space]:
    """Return the parts that `config.obs` asks for. Raises `UserError` if there are none."""
    if config.obs in ("image", "render"):
        return parts
    if config.obs == "state":
        chosen = {key: part for key, part in parts.items() if not is_image(part)}
        if not chosen:
            raise UserError(f"{config.env} shows images only, no state vector: use --obs image.")
        return chosen
    names = [name for name in map(str.strip, config.obs.split(",")) if name]
    missing = [name for name in names if not any(_is_within(key, name) for key in parts)]
    if missing or not names:
        raise UserError(
            f"{config.env} shows {', '.join(parts)}{', and no ' if missing else ''}{', '.join(missing)}: --obs must be "
            "image, state, render, or names of these, with commas between."
        )
    return {key: part for key, part in parts.items() if any(_is_within(key, name) for name in names)}


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}/")


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
    """Whether the space has a fixed count of numbers."""
    if isinstance(space, spaces.Text):  # Gymnasium would number its letters
        return False
    try:
        return space.is_np_flattenable
    except NotImplementedError:  # a space of the user's own
        return False


def _conversion(space: gym.Space, subject: str, image_size: int) -> tuple[spaces.Box, Convert]:
    """The space to show in place of `space`, an image of this size or, for 0, a vector; and the way to it."""
    if image_size:
        assert isinstance(space, spaces.Box)
        return _image_conversion(space, subject, image_size)
    if isinstance(space, spaces.Box) and (
        0 in space.shape or (len(space.shape) > 2 and _has_sides_of_an_image(space.shape))
    ):
        raise UserError(
            f"{subject} is {brief(space)}: images must be (height, width, channels), {_IMAGES}, and vectors must not "
            "be empty."
        )
    if not _has_numbers(space):
        raise UserError(f"{subject} is {brief(space)}: neither image nor vector.")
    numbers = flatdim(space)
    if numbers > LONGEST:
        raise UserError(
            f"{subject} has {numbers:,} numbers, more than {LONGEST:,}: leave it out with --obs, or show less."
        )
    return spaces.Box(-np.inf, np.inf, (numbers,), np.float32), vector_conversion(space, subject)


def _has_sides_of_an_image(shape: tuple[int, ...]) -> bool:
    """Whether it is as large as an image, in whichever order its axes are."""
    return sum(length >= MIN_IMAGE for length in shape) >= 2


def _image_conversion(space: spaces.Box, subject: str, size: int) -> tuple[spaces.Box, Convert]:
    highest = brightest(space.high)
    shape = image_of(np.zeros(space.shape, np.uint8), subject).shape

    def convert(value: Any) -> np.ndarray:
        image = image_of(value, subject, highest)
        if image.shape != shape:
            raise EnvError(f"{subject} has shape {np.shape(value)} where {space.shape} is declared.")
        return resize(image, size)

    return spaces.Box(0, 255, (size, size, shape[2]), np.uint8), convert


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a uint8 image `(H, W, C)` to `(size, size, C)`: means of areas, or bilinear.

    The result is always an array of its own: many environments draw into one array again and again, while
    episodes and films keep what was shown.
    """
    if image.shape[:2] == (size, size):
        return image.copy()
    shrinks = min(image.shape[:2]) >= size
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    if image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize((size, size), method))
    # Pillow has no general images of many channels, and would weight the first three by a fourth.
    channels = [Image.fromarray(channel).resize((size, size), method) for channel in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
