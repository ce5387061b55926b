"""The action model q(a_t | s_t) (paper, Section 3, Eq. 2 and 3; TF2 models.py:142-176).

For each number of a continuous action, the network has two outputs m and r. They give mean = 5 tanh(m / 5) and
std = softplus(r + c) + 1e-4, where c makes std begin at about 5. For discrete actions its outputs are the logits.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.behavior.distributions import ActionDistribution, OneHot, TanhNormal
from dreamer.types import ActionSpec, Metrics
from dreamer.world_model.mlp import MLP

LAYERS = 4
MEAN_SCALE = 5.0
INITIAL_STD = 5.0
MIN_STD = 1e-4
RAW_INITIAL_STD = math.log(math.exp(INITIAL_STD) - 1)
MODE_SAMPLES = 100
"""Samples among which evaluation picks the most likely continuous action."""
SATURATED = 0.99
"""Continuous actions beyond this, either way, count as saturated."""


class Actor(nn.Module):
    """Features `(..., F)` -> a distribution over actions `(..., A)`."""

    def __init__(self, features: int, action: ActionSpec, units: int, layers: int = LAYERS):
        super().__init__()
        self.action = action
        self.mlp = MLP(features, layers, units, action.size if action.discrete else 2 * action.size)

    def forward(self, feat: Float[Tensor, "*N F"]) -> ActionDistribution:
        out = self.mlp(feat)
        if self.action.discrete:
            return OneHot(out, self.action.groups)
        mean, raw_std = out.chunk(2, -1)
        mean = MEAN_SCALE * torch.tanh(mean / MEAN_SCALE)
        return TanhNormal(mean, F.softplus(raw_std + RAW_INITIAL_STD) + MIN_STD)

    def sample(self, feat: Float[Tensor, "*N F"], noise: Float[Tensor, "*N A"]) -> Float[Tensor, "*N A"]:
        """Sample actions `(..., A)` at features `(..., F)` with `noise` `(..., A)`, such as `draw_noise` draws."""
        return self(feat).sample(noise)

    def act(
        self, feat: Float[Tensor, "N F"], explore: bool, generator: torch.Generator
    ) -> Float[Tensor, "N A"]:
        """Choose actions `(N, A)` at features `(N, F)`: a sample with `explore`, else the mode."""
        if explore:
            return self.sample(feat, self.draw_noise(len(feat), generator=generator))
        return self(feat).mode(self.draw_noise(MODE_SAMPLES, len(feat), generator=generator))

    def statistics(self, feat: Float[Tensor, "N F"], noise: Float[Tensor, "N A"]) -> Metrics:
        """Return metrics at `feat` `(N, F)`: the entropy and, for continuous actions, the share that is saturated."""
        policy = self(feat)
        metrics = {"actor/entropy": policy.entropy(noise.unsqueeze(0)).mean().detach()}
        if not self.action.discrete:
            metrics["actor/saturated"] = (policy.sample(noise).abs() > SATURATED).mean(dtype=torch.float32)
        return metrics

    def draw_noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draw what `sample` needs for `(*shape, A)` actions: normal noise, or Gumbel noise for discrete ones."""
        size = (*shape, self.action.size)
        if not self.action.discrete:
            return torch.randn(size, generator=generator, device=generator.device)
        return -torch.empty(size, device=generator.device).exponential_(generator=generator).log()
