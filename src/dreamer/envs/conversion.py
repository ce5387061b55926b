"""What an environment returns, as the numbers that the agent takes. Each conversion is also the check.

| returned | becomes |
|---|---|
| reward: a number of any type, or an array or list that holds one | float |
| terminated, truncated: a truth value of any type, 0 or 1, or an array of one | bool |
| image: uint8, other integers in [0, 255], floats in [0, 1], bool | uint8 `(H, W, C)` |
| image of integers with a lower bound than 255, such as masks | the same, scaled by its bound |
| image with channels first, or a stack of images | the same, with all these as channels |
| `Box` of floats | float32 `(n,)`, as it is, also outside its bounds |
| `Box` of integers within [-10, 10] | float32 `(n,)`, as it is |
| `Box` of larger integers | float32 `(n,)`, scaled by its bounds to [0, 1] |
| grid of bytes too small for an image | float32 `(n,)`, ln(1 + x): symbols as well as pixels become small numbers |
| `Discrete`, `MultiDiscrete` | float32 `(n,)`, one-hot |

Shapes fit if they differ only in axes of length 1. All else is an `EnvError`: what is not finite, has another shape,
or has no plain meaning.
"""

import logging
from collections.abc import Callable
from numbers import Number
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten

from dreamer.envs.failures import EnvError, brief
from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

Convert = Callable[[Any], np.ndarray]

SMALL_INTEGER = 10
"""Integers up to here are as good an input as floats."""

MIN_IMAGE = 16
"""Fewest pixels along one side of an image. What is smaller is a grid of symbols, and becomes a vector."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest reward or value of a vector: they are stored as float32."""


def reward_of(reward: Any, name: str) -> float:
    """Convert a reward: a number of any type, or an array or list that holds exactly one, `(1,)` or `(1, 1)`.

    Raises:
        EnvError: it is not one number that float32 can hold; the message says what `name` returned.
    """
    array = _array(reward)
    if array is None or array.size != 1 or not np.isfinite(array).all():
        raise EnvError(f"{name} returned the reward {brief(reward)}: it must be one finite number.")
    value = float(array.item())
    if abs(value) > LARGEST:
        raise EnvError(f"{name} returned the reward {value}: scale rewards to less than {LARGEST:.1e}.")
    return value


def end_of(value: Any, name: str, which: str) -> bool:
    """Convert `terminated` or `truncated`: a truth value of any type, 0 or 1, or an array that holds exactly one.

    Raises:
        EnvError: it is none, but a reward in the wrong place, for instance; the message says what `name` returned.
    """
    array = _array(value)
    if array is None or array.size != 1 or array.item() not in (0, 1):
        raise EnvError(f"{name} returned {which} {brief(value)} from step: it must be True or False.")
    return bool(array.item())


def image_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the axes of height and width of an image of this shape, or None if it has too few pixels for one.

    They are the only two of at least `MIN_IMAGE`, one after the other, as in `(H, W)`, `(C, H, W)` or `(N, H, W, C)`;
    or the first two of three such axes.
    """
    long = [axis for axis, length in enumerate(shape) if length >= MIN_IMAGE]
    if long == [0, 1, 2] and len(shape) == 3:
        return 0, 1
    return (long[0], long[1]) if len(long) == 2 and long[1] - long[0] == 1 and 0 not in shape else None


def brightest(bound: Any) -> int:
    """Return the value of white among integers that are declared up to this bound, a number or one for each pixel.

    Bounds from 128 on are taken for inexact ones of usual pixels. Floats are in [0, 1], whatever their bound.
    """
    highest = int(np.max(bound))
    return highest if 0 < highest < 128 else 255


def image_of(pixels: Any, subject: str, highest: int = 255) -> np.ndarray:
    """Convert an image to uint8 `(H, W, C)`; the module's table has the types.

    `highest` is the value of white among integers. Raises `EnvError` if this is no image, or if its range
    of values has no plain meaning; the message begins with `subject`.
    """
    array = _array(pixels)
    axes = image_axes(array.shape) if array is not None else None
    if array is None or (axes is None and array.ndim not in (2, 3)) or array.size == 0:
        shown = brief(pixels) if array is None else f"an array of shape {array.shape}"
        raise EnvError(f"{subject} is {shown}: it must be (height, width, channels).")
    if array.dtype != np.uint8 or highest != 255:
        array = _bytes(array, subject, highest)
    height, width = axes or (0, 1)
    last = np.moveaxis(array, (height, width), (0, 1))
    return last.reshape(*last.shape[:2], -1)


def _bytes(array: np.ndarray, subject: str, highest: int) -> np.ndarray:
    """Return pixels as uint8: integers in [0, `highest`], or floats in [0, 1]."""
    low, high = array.min(), array.max()  # NaN if any pixel is
    if array.dtype.kind in "ui" and low >= 0 and high <= highest:
        return (array if highest == 255 else np.rint(array * (255 / highest))).astype(np.uint8)
    if array.dtype.kind in "fb" and low >= -1e-4 and high <= 1 + 1e-4:
        return np.rint(255 * np.clip(array.astype(np.float32), 0, 1)).astype(np.uint8)
    range_ = f"{subject} has pixels of type {array.dtype} from {low:g} to {high:g}"
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        text = f"{range_}, beyond the declared bound of {highest}: declare what is returned."
        raise EnvError(text, passing=False)
    raise EnvError(f"{range_}: return uint8, or floats in [0, 1].")


def vector_conversion(space: gym.Space, subject: str) -> Convert:
    """Return the function that converts and checks elements of `space`; the module's table has the rules.

    Raises:
        UserError: the space has large integers without bounds to scale them by. The function raises `EnvError`
            for what does not fit. Messages begin with `subject`.
    """
    if isinstance(space, spaces.Box):
        return _BoxVector(space, subject)

    def convert(value: Any) -> np.ndarray:
        element = _whole_numbers(value, space) if isinstance(space, _OF_WHOLE_NUMBERS) else value
        if element is None or not space.contains(element):
            raise EnvError(f"{subject} is {brief(value)}, which is not in {brief(space)}.")
        return np.asarray(flatten(space, element), np.float32)

    return convert


def _whole_numbers(value: Any, space: gym.Space) -> np.ndarray | None:
    """Return whole numbers, of whichever type, in shape and type of the space; None if they are none or do not fit."""
    array = _array(value)
    fitting = None if array is None else _fitting(array, space.shape or ())
    with np.errstate(invalid="ignore"):
        whole = None if fitting is None else fitting.astype(space.dtype)
    return whole if np.array_equal(whole, fitting) else None  # pyright: ignore[reportArgumentType]


_OF_WHOLE_NUMBERS = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class _BoxVector:
    """Convert the elements of one `Box`; those outside its bounds are taken as they are, with one warning."""

    def __init__(self, space: spaces.Box, subject: str) -> None:
        self._subject, self._shape = subject, space.shape
        self._low, self._high = (bound.astype(np.float64) for bound in (space.low, space.high))
        self._watched = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        large = _has_large_integers(space)
        self._grid = large and space.dtype == np.uint8 and len(space.shape) > 1
        self._scaled = large and not self._grid
        if self._scaled and _has_no_bounds(space):
            raise UserError(
                f"{subject} is {brief(space)}, with no bounds to scale its integers by: declare their range, or use "
                "floats."
            )

    def __call__(self, value: Any) -> np.ndarray:
        array = _array(value)
        if array is None:
            raise EnvError(f"{self._subject} is {brief(value)}: it must be an array of numbers.")
        shape = array.shape
        if (array := _fitting(array, self._shape)) is None:
            raise EnvError(f"{self._subject} has shape {shape} where {self._shape} is declared.")
        if self._watched:
            self._compare(array)
        if self._scaled:
            array = (array - self._low) / np.maximum(self._high - self._low, 1)
        if self._grid:
            array = np.log1p(array.astype(np.float32))
        with np.errstate(over="ignore"):  # Infinity is what is looked for.
            vector = array.astype(np.float32).reshape(-1)  # always a copy
        if not np.isfinite(vector).all():
            if np.isfinite(array).all():
                raise EnvError(
                    f"{self._subject} holds {np.abs(array).max():.1e}: scale it to less than {LARGEST:.1e}."
                )
            raise EnvError(f"{self._subject} holds NaN or infinity.")
        return vector

    def _compare(self, array: np.ndarray) -> None:
        """Warn at the first value beyond the declared bounds, rounding apart."""
        slack = 1e-4 * np.maximum(1, np.abs(array))
        if np.any(array < self._low - slack) or np.any(array > self._high + slack):
            self._watched = False
            _logger.warning(
                "%s reaches from %.6g to %.6g, beyond its declared bounds: it is taken as it is.",
                self._subject,
                array.min(),
                array.max(),
            )


def _has_large_integers(space: spaces.Box) -> bool:
    return space.dtype.kind in "ui" and bool(
        np.any(space.low < -SMALL_INTEGER) or np.any(space.high > SMALL_INTEGER)
    )


def _has_no_bounds(space: spaces.Box) -> bool:
    """Whether integers of 32 or 64 bits are declared to take any value of their type."""
    if space.dtype.itemsize < 4:
        return False
    limits = np.iinfo(str(space.dtype))
    return bool(np.any(space.high == limits.max) or (limits.min < 0 and np.any(space.low == limits.min)))


def _array(value: Any) -> np.ndarray | None:
    """Return the numbers in `value`, or None if it holds anything else."""
    try:
        array = np.asarray(value)
        if array.dtype == object and all(isinstance(each, Number) for each in array.flat):
            array = array.astype(np.float64)  # fractions, whole numbers of more than 64 bits
        masked = np.ma.is_masked(value)
    except Exception:
        # Lists of unequal lengths; tensors with a gradient or on a GPU; whatever a class of theirs raises.
        return None
    return array if array.dtype.kind in "fiub" and not masked else None


def _fitting(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the array in this shape, or None if it differs in more than axes of length 1."""
    if array.shape == shape:
        return array
    same = [length for length in array.shape if length != 1] == [length for length in shape if length != 1]
    return array.reshape(shape) if same else None
