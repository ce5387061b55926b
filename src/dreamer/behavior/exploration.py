"""Exploration while collecting (paper, Section 6, Appendix A): Gaussian noise, or epsilon-greedy."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamer.spec import ActionSpec

EPSILON, EPSILON_MIN, EPSILON_STEPS = 0.4, 0.1, 200_000
"""Share of random actions at first and at last, and the updates between (paper, Appendix A)."""


def add_noise(action: Tensor, noise: Tensor, std: float) -> Tensor:
    """Add Gaussian noise and clip to [-1, 1] (TF2 dreamer.py:246-268)."""
    return (action + std * noise).clamp(-1, 1)


def epsilon_at(grad_step: int) -> float:
    """Share of random actions after so many updates: falls linearly, then stays constant."""
    return EPSILON + (EPSILON_MIN - EPSILON) * min(1.0, grad_step / EPSILON_STEPS)


def epsilon_greedy(action: Tensor, random: Tensor, uniform: Tensor, epsilon: float) -> Tensor:
    """`random` actions `(N, A)` in place of `action` where the row's `uniform` `(N,)` is below `epsilon`."""
    return torch.where((uniform < epsilon).unsqueeze(-1), random, action)


def random_action(spec: ActionSpec, n: int, generator: torch.Generator) -> Tensor:
    """Uniform actions `(n, A)`: in [-1, 1], or one-hot."""
    device = generator.device
    if not spec.discrete:
        return 2 * torch.rand(n, spec.size, generator=generator, device=device) - 1
    drawn = [torch.randint(size, (n,), generator=generator, device=device) for size in spec.groups]
    pairs = zip(drawn, spec.groups, strict=True)
    return torch.cat([F.one_hot(number, size).float() for number, size in pairs], -1)
