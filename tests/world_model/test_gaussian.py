"""Densities, divergences and entropies against PyTorch's own distributions."""

import torch
from torch.distributions import Independent, Normal, kl_divergence

from dreamer.world_model import gaussian


def _pair(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(4, 5, 3, generator=rng), torch.rand(4, 5, 3, generator=rng) + 0.1


def test_kl_divergence() -> None:
    p, q = _pair(0), _pair(1)
    expected = kl_divergence(Independent(Normal(*p), 1), Independent(Normal(*q), 1))
    torch.testing.assert_close(gaussian.kl_divergence(*p, *q), expected)
    assert gaussian.kl_divergence(*p, *p).abs().max() < 1e-6


def test_entropy() -> None:
    mean, std = _pair(0)
    torch.testing.assert_close(gaussian.entropy(std), Independent(Normal(mean, std), 1).entropy())
    torch.testing.assert_close(gaussian.mean_entropy(std), gaussian.entropy(std).mean())


def test_unit_log_prob() -> None:
    mean, target = _pair(0)[0], _pair(1)[0]
    torch.testing.assert_close(gaussian.unit_log_prob(mean, target), Normal(mean, 1.0).log_prob(target))


def test_summed_log_prob_and_its_hand_written_gradient() -> None:
    mean, target = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    mean.requires_grad_()
    weight = torch.randn(2, 3)
    expected = Independent(Normal(mean, 1.0), 2).log_prob(target)
    ours = gaussian.unit_log_prob_sum(mean, target)
    torch.testing.assert_close(ours, expected)
    (grad,) = torch.autograd.grad((ours * weight).sum(), mean)
    (right,) = torch.autograd.grad((expected * weight).sum(), mean)
    torch.testing.assert_close(grad, right)
