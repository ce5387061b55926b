"""The contrastive objective: a state model q(s_t | o_t) in place of a decoder (paper, Section 4, Eq. 11-12).

    J_S = ln q(s_t | o_t) - ln sum_o' q(s_t | o')

The observations o' are those of the whole batch, including the state's own (InfoNCE, Eq. 15). So J_S is at most 0. It
is high if the state tells its own observation from the others. The original code (TF1) compares each observation with
several states instead: `window_info_nce`.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.world_model.gaussian import HALF_LOG_TWO_PI
from dreamer.world_model.mlp import MLP

LAYERS = 3
RAW_UNIT_STD = math.log(math.e - 1)
MIN_STD = 0.01
BATCH_SHIFTS, TIME_SHIFTS = (-5, 5), (-15, 15)
"""Bounds of the shifts, as for `range`."""


class StateModel(nn.Module):
    """q(s_t | o_t): embedding `(..., E)` -> mean and std of features `(..., F)` (TF1 configs.py:231-235)."""

    def __init__(self, embed: int, features: int, units: int):
        super().__init__()
        self.head = MLP(embed, LAYERS, units, 2 * features)

    def forward(self, embed: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.head(embed).chunk(2, -1)
        return mean, F.softplus(raw + RAW_UNIT_STD) + MIN_STD


def log_densities(
    feat: Float[Tensor, "N F"], mean: Float[Tensor, "N F"], std: Float[Tensor, "N F"]
) -> Float[Tensor, "N N"]:
    """ln N(s_i; mean_j, std_j) of every state under every observation: each `(N, F)` -> `(N, N)`, N = B T.

    The square is multiplied out, so that two matrix products compute it. They are in float32, because large parts of it
    cancel.
    """
    with torch.autocast(feat.device.type, enabled=False):
        center = mean.detach().mean(0)  # nearer to zero the parts are smaller, and less is lost
        feat, mean, precision = feat.float() - center, mean - center, std.pow(-2)
        square = feat.square() @ precision.T - 2 * feat @ (mean * precision).T
        offset = (mean.square() * precision).sum(-1) + 2 * std.log().sum(-1)
        return -0.5 * (square + offset) - feat.shape[-1] * HALF_LOG_TWO_PI


def info_nce(
    feat: Float[Tensor, "B T F"], mean: Float[Tensor, "B T F"], std: Float[Tensor, "B T F"]
) -> Float[Tensor, "B T"]:
    """Compare each state's own observation with all B T of the batch, as the paper does: `(B, T, F)` -> `(B, T)`."""
    density = log_densities(feat.flatten(0, 1), mean.flatten(0, 1), std.flatten(0, 1))
    return (density.diagonal() - density.logsumexp(1)).view(feat.shape[:2])


def window_info_nce(
    feat: Float[Tensor, "B T F"], mean: Float[Tensor, "B T F"], std: Float[Tensor, "B T F"]
) -> Float[Tensor, "B T"]:
    """Compare each observation's own state with 300 states, as the original code does: `(B, T, F)` -> `(B, T)`.

    They are those of 10 sequences and 30 steps around it, counted cyclically (TF1 utility.py:366-407).
    """
    batch, time = feat.shape[:2]
    density = log_densities(feat.flatten(0, 1), mean.flatten(0, 1), std.flatten(0, 1))
    states = _window(batch, time, feat.device)
    contrast = density.T.gather(1, states).logsumexp(1)
    return (density.diagonal() - contrast).view(batch, time)


def _window(batch: int, time: int, device: torch.device) -> Tensor:
    """Return the indices `(B T, 300)` of the states with which each element's own is compared.

    They are computed on the device, because a CUDA graph cannot hold a copy from the host's memory.
    """
    rows, shifts_b = torch.arange(batch, device=device), torch.arange(*BATCH_SHIFTS, device=device)
    steps, shifts_t = torch.arange(time, device=device), torch.arange(*TIME_SHIFTS, device=device)
    row = (rows[:, None] - shifts_b) % batch
    step = (steps[:, None] - shifts_t) % time
    numbers = row[:, None, :, None] * time + step[None, :, None, :]
    return numbers.flatten(2).flatten(0, 1)


CONTRASTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "contrastive": info_nce,
    "contrastive-tf1": window_info_nce,
}
