"""Diagonal Gaussians: log-density, KL and entropy, for the world model's loss and the value loss (Eq. 8 and 10).

All densities are computed in float32, because a sum over the 12,288 numbers of an image would be too inexact in
bfloat16. `kl_divergence` casts nothing: what it gets from `rssm.make_state` is float32.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def unit_log_prob(mean: Float[Tensor, "*N"], target: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """ln N(target; mean, 1), element by element: -½ (target - mean)² - ½ ln 2π."""
    return -0.5 * (target.float() - mean.float()).square() - HALF_LOG_TWO_PI


def kl_divergence(p_mean: Tensor, p_std: Tensor, q_mean: Tensor, q_std: Tensor) -> Tensor:
    """KL(p || q) of diagonal Gaussians `(..., S)`, summed over the last dimension: `(...)`, in nats."""
    ratio = p_std / q_std
    distance = (p_mean - q_mean) / q_std
    return (0.5 * (ratio.square() + distance.square() - 1) - ratio.log()).sum(-1)


@torch.no_grad()
def mean_entropy(std: Float[Tensor, "*N S"]) -> Float[Tensor, ""]:
    """Return the mean entropy, in nats, of a batch of Gaussians with deviations `(..., S)`; a metric only."""
    return (std.float().log() + 0.5 + HALF_LOG_TWO_PI).sum(-1).mean()
