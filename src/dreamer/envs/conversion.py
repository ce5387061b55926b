"""What an environment returns, as the numbers that the agent takes. Each conversion is also the check.

| returned | becomes |
|---|---|
| reward: a number of any type, or an array or list that holds one | float |
| terminated, truncated: a truth value of any type, or an array of one | bool |
| image: uint8, other integers in [0, 255], floats in [0, 1], bool | uint8, `(H, W)` or `(H, W, C)` |
| `Box` of floats | float32 `(n,)`, as it is, also outside its bounds |
| `Box` of integers within [-10, 10] | float32 `(n,)`, as it is |
| `Box` of larger integers | float32 `(n,)`, scaled by its bounds to [0, 1] |
| grid of bytes too small for an image | float32 `(n,)`, ln(1 + x): symbols as well as pixels become small numbers |
| `Discrete`, `MultiDiscrete` | float32 `(n,)`, one-hot |

All else is an `EnvError`: what is not finite, has another shape, or has no plain meaning.
"""

import logging
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten

from dreamer.envs.failures import EnvError, one_line
from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

Convert = Callable[[Any], np.ndarray]

SMALL_INTEGER = 10
"""Integers up to here are as good an input as floats."""


LARGEST = float(np.finfo(np.float32).max)
"""Largest reward or value of a vector: they are stored as float32."""


def reward_of(reward: Any, name: str) -> float:
    """Convert a reward: a number of any type, or an array or list that holds exactly one, `(1,)` or `(1, 1)`.

    Raises:
        EnvError: it is not one number that float32 can hold; the message says what `name` returned.
    """
    array = _array(reward)
    if array is None or array.size != 1 or not np.isfinite(array).all():
        raise EnvError(f"{name} returned the reward {_brief(reward)}: it must be one finite number.")
    value = float(array.item())
    if abs(value) > LARGEST:
        raise EnvError(f"{name} returned the reward {value}: scale rewards to less than {LARGEST:.1e}.")
    return value


def end_of(value: Any, name: str, which: str) -> bool:
    """Convert `terminated` or `truncated`: a truth value of any type, or an array that holds exactly one.

    Raises:
        EnvError: it is none; the message says what `name` returned.
    """
    array = _array(value)
    if array is None or array.size != 1:
        raise EnvError(f"{name} returned {which} {_brief(value)} from step: it must be True or False.")
    return bool(array.item())


def image_of(pixels: Any, subject: str) -> np.ndarray:
    """Convert an image to uint8, `(H, W)` or `(H, W, C)`; the module's table has the types.

    Raises:
        EnvError: it is no image, or its range of values has no plain meaning; the message begins with `subject`.
    """
    array = _array(pixels)
    if array is None or array.ndim not in (2, 3) or array.size == 0:
        shown = _brief(pixels) if array is None else f"an array of shape {array.shape}"
        raise EnvError(f"{subject} is {shown}: it must be (height, width, channels).")
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()  # NaN if any pixel is
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind in "fb" and low >= -1e-4 and high <= 1 + 1e-4:
        return np.rint(255 * np.clip(array.astype(np.float32), 0, 1)).astype(np.uint8)
    raise EnvError(
        f"{subject} has pixels of type {array.dtype} from {low:g} to {high:g}: return uint8, or floats in [0, 1]."
    )


def vector_conversion(space: gym.Space, subject: str) -> Convert:
    """Return the function that converts and checks elements of `space`; the module's table has the rules.

    Raises:
        UserError: the space has large integers without bounds to scale them by. The function raises `EnvError`
            for what does not fit. Messages begin with `subject`.
    """
    if isinstance(space, spaces.Box):
        return _BoxVector(space, subject)

    def convert(value: Any) -> np.ndarray:
        if not space.contains(value):
            raise EnvError(f"{subject} is {_brief(value)}, which is not in {space}.")
        return np.asarray(flatten(space, value), np.float32)

    return convert


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
                f"{subject} is {space}, with no bounds to scale its integers by: declare their range, or use floats."
            )

    def __call__(self, value: Any) -> np.ndarray:
        array = _array(value)
        if array is None:
            raise EnvError(f"{self._subject} is {_brief(value)}: it must be an array of numbers.")
        if array.shape != self._shape:
            raise EnvError(f"{self._subject} has shape {array.shape} where {self._shape} is declared.")
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
    except (
        Exception
    ):  # lists of unequal lengths; tensors with a gradient or on a GPU; whatever a class of theirs raises
        return None
    return array if array.dtype.kind in "fiub" else None


def _brief(value: Any) -> str:
    """Show a value in one short line."""
    return one_line(repr(value), 80)
