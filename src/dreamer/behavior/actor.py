"""The actor q(a_t | s_t) and its action distributions (paper, Section 3, Eq. 3; TF2 models.py:142-176).

continuous   a = tanh(mean + std * noise),   mean = 5 tanh(raw / 5),   std = softplus(raw + c) + 1e-4
discrete     a = one-hot sample, with the gradient of the probabilities (straight through)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.behavior.one_hot import OneHot
from dreamer.spec import ActionSpec
from dreamer.world_model.dense import DenseHead
from dreamer.world_model.gaussian import HALF_LOG_TWO_PI
from dreamer.world_model.over_time import Layer

MEAN_SCALE = 5.0
INITIAL_STD = 5.0
MIN_STD = 1e-4
RAW_INITIAL_STD = math.log(math.exp(INITIAL_STD) - 1)
ACTOR_LAYERS = 4
MODE_SAMPLES = 100
"""Samples among which evaluation takes the most likely action."""
LARGEST_ACTION = 1 - 2**-24  # the float32 next to 1


@dataclass(frozen=True)
class TanhNormal:
    """tanh of a diagonal Gaussian: `mean`, `std` `(..., A)`; actions in [-1, 1]."""

    mean: Tensor
    std: Tensor

    def draw_noise(self, *samples: int, generator: torch.Generator | None) -> Tensor:
        """Standard normal noise `(*samples, ..., A)`."""
        shape = (*samples, *self.mean.shape)
        return torch.randn(shape, generator=generator, device=self.mean.device)

    def sample(self, noise: Tensor) -> Tensor:
        """The action for standard normal `noise`, differentiable in mean and std."""
        return torch.tanh(self.mean + self.std * noise)

    def log_prob(self, pre_tanh: Tensor) -> Tensor:
        """Log-density `(...)` of the action tanh(`pre_tanh`).

        It takes the value before the tanh: at the initial std of 5 most actions round to +-1, where
        the inverse is wrong by whole nats.
        """
        scaled = (pre_tanh - self.mean) / self.std
        normal = -0.5 * scaled.square() - self.std.log() - HALF_LOG_TWO_PI
        log_slope = 2 * (math.log(2) - pre_tanh - F.softplus(-2 * pre_tanh))
        return (normal - log_slope).sum(-1)

    def mode(self, noise: Tensor) -> Tensor:
        """The most likely of the samples made from `noise` `(K, ..., A)`, for each row by itself: `(..., A)`.

        TF2 tools.py:239 takes for every row the sample that is best for row 0; right only for one row.
        """
        action = self.sample(noise)
        # TF2: judged is the action as float32 holds it. The density of the value before the tanh grows on
        # where all actions have become +-1, and would let the wildest sample win.
        best = self.log_prob(torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))).argmax(0)
        index = best.unsqueeze(-1).expand(self.mean.shape).unsqueeze(0)
        return action.gather(0, index).squeeze(0)

    def entropy(self, noise: Tensor) -> Tensor:
        """Monte-Carlo estimate over samples made from `noise` `(K, ..., A)`: `(...)`, in nats."""
        return -self.log_prob(self.mean + self.std * noise).mean(0)


ActionDistribution = TanhNormal | OneHot


def tanh_normal(out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation `(..., A)` of a `TanhNormal` from a layer's output `(..., 2 A)`."""
    mean, raw_std = out.chunk(2, -1)
    return MEAN_SCALE * torch.tanh(mean / MEAN_SCALE), F.softplus(raw_std + RAW_INITIAL_STD) + MIN_STD


def sample_tanh_normal(out: Tensor, noise: Tensor) -> Tensor:
    """Its action for standard normal `noise`."""
    mean, std = tanh_normal(out)
    return torch.tanh(mean + std * noise)


class Actor(nn.Module):
    """Features `(..., F)` -> a distribution over actions `(..., A)`."""

    def __init__(self, features: int, action: ActionSpec, layers: int, units: int):
        super().__init__()
        self.action = action
        self.squashed = sample_tanh_normal  # a compiled function may take its place (`agents/compiled.py`)
        self.head = DenseHead(features, layers, units, action.size if action.discrete else 2 * action.size)

    def forward(self, feat: Tensor, layers: Sequence[Layer] | None = None) -> ActionDistribution:
        """The distribution at `feat`; in a loop over time give it the `layers_over_time` of its head."""
        out = self.head(feat, layers)
        if self.action.discrete:
            return OneHot(out, self.action.groups)
        return TanhNormal(*tanh_normal(out))

    def sample(self, feat: Tensor, noise: Tensor, layers: Sequence[Layer] | None = None) -> Tensor:
        """The actions `(..., A)` that the distribution at `feat` gives for `noise`."""
        if self.action.discrete:
            return self(feat, layers).sample(noise)
        return self.squashed(self.head(feat, layers), noise)

    def act(self, feat: Tensor, mode_samples: int | None, generator: torch.Generator | None) -> Tensor:
        """Actions `(N, A)` at `(N, F)`: a sample, or with `mode_samples` the most likely of so many."""
        distribution = self(feat)
        if mode_samples is None:
            return distribution.sample(self.draw_noise(len(feat), generator=generator))
        return distribution.mode(self.draw_noise(mode_samples, len(feat), generator=generator))

    def draw_noise(self, *shape: int, generator: torch.Generator | None) -> Tensor:
        """What `sample` needs for `(*shape, A)` actions: normal, or Gumbel noise for discrete ones."""
        device = self.head.out.weight.device
        size = (*shape, self.action.size)
        if not self.action.discrete:
            return torch.randn(size, generator=generator, device=device)
        return -torch.empty(size, device=device).exponential_(generator=generator).log()
