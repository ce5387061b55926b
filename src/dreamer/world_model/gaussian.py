"""Diagonal Gaussians: the densities behind every term of the world model's loss (paper, Eq. 10).

Everything here runs in float32: a sum over 12,288 pixels has no place in half precision.
"""

import math

import torch
from torch import Tensor

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def unit_log_prob(mean: Tensor, target: Tensor) -> Tensor:
    """ln N(target; mean, 1), element by element: -½ (target - mean)² - ½ ln 2π."""
    return -0.5 * (target.float() - mean.float()).square() - HALF_LOG_TWO_PI


class _SquaredError(torch.autograd.Function):
    """Sum of (scale * target + shift - mean)² over the trailing dimensions, in few passes over memory."""

    @staticmethod
    def forward(ctx, mean: Tensor, target: Tensor, scale: float, shift: float) -> Tensor:
        error = torch.sub(mean.float(), target, alpha=scale).sub_(shift)
        ctx.save_for_backward(error)
        ctx.dtype = mean.dtype
        return error.square().flatten(2).sum(-1)  # no matrix product: autocast would round it to bfloat16

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (error,) = ctx.saved_tensors
        scale = (2 * grad).reshape(grad.shape + (1,) * (error.dim() - 2))
        return (error * scale).to(ctx.dtype), None, None, None


def unit_log_prob_sum(mean: Tensor, target: Tensor, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """ln N(scale * target + shift; mean, 1) summed over all but batch and time: `(B, T, ...)` -> `(B, T)`.

    With scale and shift a uint8 image is compared as it is, and its float copy is never made.
    """
    constant = HALF_LOG_TWO_PI * mean[0, 0].numel()
    return -0.5 * _SquaredError.apply(mean, target, scale, shift) - constant


def kl_divergence(p_mean: Tensor, p_std: Tensor, q_mean: Tensor, q_std: Tensor) -> Tensor:
    """KL(p || q) of diagonal Gaussians `(..., S)`, summed over the last dimension: `(...)`, in nats."""
    ratio = p_std / q_std
    distance = (p_mean - q_mean) / q_std
    return (0.5 * (ratio.square() + distance.square() - 1) - ratio.log()).sum(-1)


def entropy(std: Tensor) -> Tensor:
    """Entropy of a diagonal Gaussian with deviations `(..., S)`: `(...)`, in nats."""
    return (std.log() + 0.5 + HALF_LOG_TWO_PI).sum(-1)


@torch.no_grad()
def mean_entropy(std: Tensor) -> Tensor:
    """Average entropy over a batch, for the record only."""
    return entropy(std.float()).mean()
