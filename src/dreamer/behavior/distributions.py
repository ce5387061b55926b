"""Distributions over actions (paper, Eq. 3 and Appendix A; TF2 tools.py:200-284).

    continuous   a = tanh(mean + std * noise),   noise ~ N(0, 1)
    discrete     a = one-hot vector of argmax(logits + noise),   noise ~ Gumbel(0, 1)

Gradients pass through both: continuous samples are differentiable, and discrete ones pass on the gradient of the
probabilities (straight through).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dreamer.world_model.gaussian import HALF_LOG_TWO_PI

LARGEST_ACTION = 1 - 2**-24  # the float32 next to 1


@dataclass(frozen=True)
class TanhNormal:
    """tanh of a diagonal Gaussian with `mean` and `std` `(..., A)`: actions in [-1, 1]."""

    mean: Float[Tensor, "*N A"]
    std: Float[Tensor, "*N A"]

    def sample(self, noise: Tensor) -> Tensor:
        """Return the actions for standard normal `noise`, differentiable in mean and std (Eq. 3)."""
        return torch.tanh(self.mean + self.std * noise)

    def log_prob(self, pre_tanh: Tensor) -> Tensor:
        """Log-density `(...)` of the action tanh(`pre_tanh`).

        The argument is the value before the tanh, because the inverse of an action near +-1 is inexact.
        """
        scaled = (pre_tanh - self.mean) / self.std
        normal = -0.5 * scaled.square() - self.std.log() - HALF_LOG_TWO_PI
        log_slope = 2 * (math.log(2) - pre_tanh - F.softplus(-2 * pre_tanh))  # ln of tanh's derivative
        return (normal - log_slope).sum(-1)

    def mode(self, noise: Tensor) -> Tensor:
        """Return the most likely of the samples for `noise` `(K, ..., A)`, for each row by itself: `(..., A)`.

        TF2 tools.py:239 takes for every row the sample that is best for row 0.
        """
        action = self.sample(noise)
        # Like TF2, take the density of each action as float32 rounds it, not of the value before the tanh. There the
        # density of a saturated actor grows without bound toward +-1, and the most extreme sample would always win.
        best = self.log_prob(torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))).argmax(0)
        index = best.unsqueeze(-1).expand(self.mean.shape).unsqueeze(0)
        return action.gather(0, index).squeeze(0)

    def entropy(self, noise: Tensor) -> Tensor:
        """Estimate the entropy `(...)`, in nats, from samples for `noise` `(K, ..., A)`."""
        return -self.log_prob(self.mean + self.std * noise).mean(0)


@dataclass(frozen=True)
class OneHot:
    """Independent categorical distributions; `logits` `(..., A)` holds those of all `groups`, concatenated."""

    logits: Float[Tensor, "*N A"]
    groups: tuple[int, ...]

    def sample(self, noise: Tensor) -> Tensor:
        """Return one-hot vectors by the Gumbel-max rule; their gradient is that of the probabilities."""
        pairs = zip(self._split(self.logits), self._split(noise), strict=True)
        return torch.cat([_straight_through(logits, logits + gumbel) for logits, gumbel in pairs], -1)

    def mode(self, noise: Tensor) -> Tensor:
        """Return the most likely one-hot vectors; exact, so the noise is not used."""
        del noise
        return torch.cat([_straight_through(logits, logits) for logits in self._split(self.logits)], -1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability `(...)` of one-hot vectors `(..., A)`."""
        pairs = zip(self._split(self.logits), self._split(action), strict=True)
        return torch.stack([(a * F.log_softmax(x, -1)).sum(-1) for x, a in pairs]).sum(0)

    def entropy(self, noise: Tensor) -> Tensor:
        """Return the entropy `(...)`, in nats; exact, so the noise is not used."""
        del noise
        logs = [F.log_softmax(x, -1) for x in self._split(self.logits)]
        return -torch.stack([(x.exp() * x).sum(-1) for x in logs]).sum(0)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(x, list(self.groups), -1)


ActionDistribution = TanhNormal | OneHot


def _straight_through(logits: Tensor, score: Tensor) -> Tensor:
    probs = F.softmax(logits, -1)
    hard = F.one_hot(score.argmax(-1), logits.shape[-1]).to(probs.dtype)
    return hard + (probs - probs.detach())  # summed in this order, the numbers are exactly 0 and 1
