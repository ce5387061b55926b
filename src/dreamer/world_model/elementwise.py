"""The small operations of the loops over time, between their matrix products.

Each is a function of its own, so that a compiled one can take its place (`agents/compiled.py`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def elu_of_sum(x: Tensor, y: Tensor) -> Tensor:
    """ELU(x + y)."""
    return F.elu(x + y)


def gates(from_input: Tensor, from_memory: Tensor, h: Tensor) -> Tensor:
    """The new memory `(..., D)`, from what both layers of a GRU give, `(..., 3 D)`, and the memory before."""
    xr, xz, xn = from_input.chunk(3, -1)
    hr, hz, hn = from_memory.chunk(3, -1)
    reset, update = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    candidate = torch.tanh(xn + reset * hn)
    return torch.lerp(candidate, h.to(candidate.dtype), update)


def gated(from_input: Tensor, from_memory: Tensor, h: Tensor) -> Tensor:
    """As `gates`; on a GPU as `nn.GRUCell` does it there: one kernel for 8, and one for 14 backward."""
    if not from_input.is_cuda or from_input.shape != from_memory.shape:
        return gates(from_input, from_memory, h)
    flat = (x.flatten(0, -2) for x in (from_input, from_memory, h.to(from_input.dtype)))
    result, _ = torch.ops.aten._thnn_fused_gru_cell(*flat, None, None)
    return result.view(h.shape)


def gaussian(out: Tensor, noise: Tensor | None, min_std: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, deviation and sample `(..., S)` from a layer's output `(..., 2 S)`; without noise, the mean."""
    mean, raw = out.float().chunk(2, -1)
    std = F.softplus(raw) + min_std
    return mean, std, mean if noise is None else mean + std * noise


class Elementwise(NamedTuple):
    """One way of computing them all."""

    elu_of_sum: Callable[[Tensor, Tensor], Tensor]
    gated: Callable[[Tensor, Tensor, Tensor], Tensor]
    gaussian: Callable[[Tensor, Tensor | None, float], tuple[Tensor, Tensor, Tensor]]


PLAIN = Elementwise(elu_of_sum, gated, gaussian)
FORMULAS = Elementwise(elu_of_sum, gates, gaussian)
"""As they are to be compiled."""
