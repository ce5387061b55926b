"""The shapes in learning, and the types that its parts pass to each other.

| letter | meaning | preset `paper` |
|---|---|---:|
| B, T | sequences in a batch, steps in a sequence (`batch_length`, the paper's L) | 50, 50 |
| N | imagined trajectories, N = B T, one from each posterior (`--pcont`: B (T - 1)). In acting: environments | 2500 |
| H | imagined steps | 15 |
| A | numbers in an action | task |
| E | embedding of an observation | 1024 |
| S, D | stochastic and deterministic part of the latent state | 30, 200 |
| F | feature that every head reads, F = S + D | 230 |

A dot is the last axis, whose size depends on the field: a state `(B, T, .)` has `stoch` `(B, T, S)` and `deter`
`(B, T, D)`. Three dots stand for any further axes. In the shape of an image, H, W and C are height, width and channels.

Alignment: element t of a sequence holds the observation o_t, the `action` that LED to it, the `reward` that came
with it, and `discount` (0 where the environment terminated, else 1). Element 0 of an episode is its reset: zero
action, zero reward, discount 1.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:  # environment workers need these types and load no torch
    from torch import Tensor

Batch: TypeAlias = "dict[str, Tensor]"
"""Sequences `(B, T, ...)`: the observations by key, `action`, `reward`, `discount`, and `is_first` (bool)."""

Metrics: TypeAlias = "dict[str, Tensor]"
"""Scalars by name, detached; `docs/metrics.md` has the formula of each."""

Observation = dict[str, np.ndarray]
"""What N environments show: images `(N, H, W, C)`, uint8, and vectors `(N, n)`, float32, by key."""

Noise: TypeAlias = "dict[str, Tensor]"
"""All randomness of one update: `filter` `(B, T, S)`, and of imagination `action` `(H, N, A)`, `state` `(H, N, S)`."""

Phase = Literal["model", "model and value", "all"]
"""Which networks an update trains: the world model; world model and value model; or these and the actor."""

SMALLEST_IMAGE = 22
"""Smallest side of an image, in pixels: the encoder has at least three convolutions."""


LARGEST = 2**20
"""Largest side of an image, and largest size of a vector, that a file may tell of."""


@dataclass(frozen=True)
class ActionSpec:
    """One action vector of `size` floats.

    `groups` is empty for continuous actions in [-1, 1]; otherwise the vector is the concatenation of one-hot
    vectors of these lengths (one for `Discrete`, several for `MultiDiscrete`).
    """

    size: int
    groups: tuple[int, ...] = ()

    @property
    def discrete(self) -> bool:
        return bool(self.groups)


@dataclass(frozen=True)
class EnvSpec:
    """Observation shapes by key: images (uint8, `(H, W, C)`) and vectors (float32, `(n,)`)."""

    images: dict[str, tuple[int, int, int]]
    vectors: dict[str, int]
    action: ActionSpec
    spaces: dict[str, Any] = field(default_factory=dict)
    """The environment's own spaces, before the wrappers, in plain values; exported policies need them."""

    def fits(self, other: "EnvSpec") -> bool:
        """Whether networks made for the one fit the other; bounds of the environment's own spaces do not matter."""
        return all(getattr(self, name) == getattr(other, name) for name in ("images", "vectors", "action"))

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "EnvSpec":
        """Return the spec of which `content` is the `dataclasses.asdict`. Raises `ValueError` if it cannot be one."""
        images = {key: tuple(shape) for key, shape in content["images"].items()}
        action = ActionSpec(content["action"]["size"], tuple(content["action"]["groups"]))
        sizes = [*(side for shape in images.values() for side in shape), *content["vectors"].values()]
        if not all(
            isinstance(size, int) and 0 < size <= LARGEST for size in (*sizes, action.size, *action.groups)
        ):
            raise ValueError(f"an environment has sizes from 1 to {LARGEST:,}")
        if {len(shape) for shape in images.values()} - {3} or sum(action.groups) not in (0, action.size):
            raise ValueError("its sizes contradict each other")
        return EnvSpec(**{**content, "images": images, "action": action})


@dataclass(frozen=True)
class Transitions:
    """For D4PG, not for Dreamer: it learns from transitions drawn by priority; see `dreamer.replay.transitions`."""

    before: int
    """Elements of context before the transition begins."""
    after: int
    """Elements that follow it."""
    exponent: float
    """Exponent of the priorities, `a`: 0 draws uniformly."""
    correction: float
    """Exponent of the importance weights, `b`: 1 undoes the whole bias of drawing by priority."""
