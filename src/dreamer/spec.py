"""What an environment shows and takes, in the few words a network needs, and without Gymnasium."""

from dataclasses import dataclass

SMALLEST_IMAGE = 22
"""Fewest pixels along one side of an image, with which three convolutions can be taken."""


@dataclass(frozen=True)
class ActionSpec:
    """One action vector of `size` floats.

    `groups` is empty for continuous actions in [-1, 1]; otherwise the vector is the concatenation of
    one-hot vectors of these lengths (one for `Discrete`, several for `MultiDiscrete`).
    """

    size: int
    groups: tuple[int, ...] = ()

    @property
    def discrete(self) -> bool:
        return bool(self.groups)


@dataclass(frozen=True)
class EnvSpec:
    """Observation shapes by key, images (uint8, `(H, W, C)`) apart from vectors (float32, `(n,)`)."""

    images: dict[str, tuple[int, int, int]]
    vectors: dict[str, int]
    action: ActionSpec
