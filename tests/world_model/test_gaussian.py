"""Densities, divergences and entropies against PyTorch's own distributions."""

import torch
from torch.distributions import Independent, Normal, kl_divergence

from dreamer.world_model import gaussian


def random_gaussian(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(4, 5, 3, generator=rng), torch.rand(4, 5, 3, generator=rng) + 0.1


def test_kl_divergence_equals_pytorchs() -> None:
    p, q = random_gaussian(0), random_gaussian(1)
    expected = kl_divergence(Independent(Normal(*p), 1), Independent(Normal(*q), 1))
    torch.testing.assert_close(gaussian.kl_divergence(*p, *q), expected)
    assert gaussian.kl_divergence(*p, *p).abs().max() < 1e-6


def test_mean_entropy_equals_pytorchs() -> None:
    mean, std = random_gaussian(0)
    torch.testing.assert_close(gaussian.mean_entropy(std), Independent(Normal(mean, std), 1).entropy().mean())


def test_unit_log_prob_equals_pytorchs() -> None:
    mean, target = random_gaussian(0)[0], random_gaussian(1)[0]
    torch.testing.assert_close(gaussian.unit_log_prob(mean, target), Normal(mean, 1.0).log_prob(target))
