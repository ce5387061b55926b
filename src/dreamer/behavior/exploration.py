"""Exploration while collecting (paper, Section 6, Appendix A): Gaussian noise, or epsilon-greedy actions."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dreamer.types import ActionSpec

EPSILON, FINAL_EPSILON, EPSILON_UPDATES = 0.4, 0.1, 200_000
"""Share of random discrete actions: at first, at last, and the updates over which it falls (Appendix A)."""


def explored(
    action: Float[Tensor, "N A"],
    spec: ActionSpec,
    expl_noise: float,
    steps: Float[Tensor, ""],
    generator: torch.Generator,
) -> Float[Tensor, "N A"]:
    """Add Gaussian noise to actions `(N, A)`, or replace discrete ones by random ones with probability epsilon.

    `steps`, the updates so far, is a tensor on the device: as a number, it would make the CPU wait until a GPU has
    taken all updates before.
    """
    if not spec.discrete:
        noise = torch.randn(action.shape, generator=generator, device=action.device)
        return add_noise(action, noise, expl_noise)
    random = random_action(spec, len(action), generator)
    uniform = torch.rand(len(action), generator=generator, device=action.device)
    return epsilon_greedy(action, random, uniform, epsilon(steps))


def add_noise(action: Tensor, noise: Tensor, std: float) -> Tensor:
    """Add Gaussian noise and clip to [-1, 1] (TF2 dreamer.py:246-268)."""
    return (action + std * noise).clamp(-1, 1)


def epsilon(steps: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return the share of random actions after so many updates: it falls linearly, then stays."""
    return EPSILON + (FINAL_EPSILON - EPSILON) * (steps / EPSILON_UPDATES).clamp(max=1)


def epsilon_greedy(
    action: Float[Tensor, "N A"],
    random: Float[Tensor, "N A"],
    uniform: Float[Tensor, "N"],
    epsilon: Float[Tensor, ""],
) -> Float[Tensor, "N A"]:
    """Take the `random` action of each row whose `uniform` number in [0, 1) is below `epsilon`."""
    return torch.where((uniform < epsilon).unsqueeze(-1), random, action)


def random_action(spec: ActionSpec, n: int, generator: torch.Generator) -> Tensor:
    """Draw uniform actions `(n, A)`: in [-1, 1], or one-hot."""
    device = generator.device
    if not spec.discrete:
        return 2 * torch.rand(n, spec.size, generator=generator, device=device) - 1
    drawn = [torch.randint(size, (n,), generator=generator, device=device) for size in spec.groups]
    pairs = zip(drawn, spec.groups, strict=True)
    return torch.cat([F.one_hot(number, size).float() for number, size in pairs], -1)
