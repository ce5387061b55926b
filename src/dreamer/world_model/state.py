"""A latent state s_t of the RSSM: a Gaussian, a sample of it, and the memory of the GRU."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class State(NamedTuple):
    """`mean`, `std`, `stoch` are `(..., S)`, `deter` is `(..., D)`."""

    mean: Tensor
    std: Tensor
    stoch: Tensor
    deter: Tensor

    @property
    def feat(self) -> Tensor:
        """What every head reads: the sample, then the memory, `(..., S + D)` (TF2 models.py:51)."""
        return torch.cat([self.stoch, self.deter], -1)

    def map(self, function: Callable[[Tensor], Tensor]) -> "State":
        """Apply a function to each of the four tensors."""
        return State(*(function(x) for x in self))

    def detach(self) -> "State":
        """The same numbers, cut from the graph."""
        return self.map(Tensor.detach)

    def flatten(self) -> "State":
        """`(B, T, .)` -> `(B * T, .)`."""
        return self.map(lambda x: x.flatten(0, 1))


def stack(states: list[State], dim: int) -> State:
    """Join states along a new dimension."""
    return State(*(torch.stack(parts, dim) for parts in zip(*states, strict=True)))
