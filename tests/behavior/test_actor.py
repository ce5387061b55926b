"""The actor's distributions against closed forms and numeric integrals."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from dreamer.behavior.actor import Actor
from dreamer.behavior.distributions import OneHot, TanhNormal
from dreamer.types import ActionSpec


@pytest.mark.parametrize("actions", [1, 6])
def test_published_number_of_parameters(actions: int) -> None:
    actor = Actor(230, ActionSpec(actions), units=400)
    assert sum(p.numel() for p in actor.parameters()) == 573_600 + 802 * actions


def test_first_actions_are_wide() -> None:
    actor = Actor(6, ActionSpec(2), units=8)
    distribution = actor(torch.zeros(1, 6))
    assert isinstance(distribution, TanhNormal)
    torch.testing.assert_close(distribution.std, torch.full((1, 2), 5.0), rtol=0, atol=2e-4)
    assert not distribution.mean.any()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (1.2, 0.3), (-2.0, 1.0), (0.3, 5.0)])
def test_tanh_normal_density_integrates_to_one(mean: float, std: float) -> None:
    """Over the action a = tanh(u): the integral of exp(log_prob) da, with da = (1 - tanh² u) du."""
    distribution = TanhNormal(
        torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64)
    )
    u = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    density = distribution.log_prob(u[:, None]).exp() / torch.cosh(u).square()
    assert math.isclose(torch.trapezoid(density, u).item(), 1.0, abs_tol=1e-6)


def test_tanh_normal_log_prob_equals_pytorchs() -> None:
    mean, std, noise = torch.randn(4, 2).double(), torch.rand(4, 2).double() + 0.1, torch.randn(4, 2).double()
    ours = TanhNormal(mean, std)
    theirs = Independent(TransformedDistribution(Normal(mean, std), [TanhTransform()]), 1)
    torch.testing.assert_close(ours.log_prob(mean + std * noise), theirs.log_prob(ours.sample(noise)))


def test_tanh_normal_log_prob_is_finite_where_tanh_is_flat() -> None:
    distribution = TanhNormal(torch.zeros(1), torch.full((1,), 5.0))
    assert torch.isfinite(distribution.log_prob(torch.tensor([[-60.0], [60.0]]))).all()


def test_tanh_normal_mode_is_chosen_for_every_row_by_itself() -> None:
    noise = torch.randn(20, 3, 2)
    both = TanhNormal(torch.randn(3, 2), torch.rand(3, 2) + 0.1)
    for row in range(3):
        alone = TanhNormal(both.mean[row : row + 1], both.std[row : row + 1])
        assert torch.equal(both.mode(noise)[row], alone.mode(noise[:, row : row + 1])[0])
        samples = both.sample(noise)[:, row]
        assert (samples == both.mode(noise)[row]).all(-1).any()


def test_tanh_normal_mode_is_the_most_likely_sample() -> None:
    distribution = TanhNormal(torch.full((1, 1), 0.2), torch.full((1, 1), 0.3))
    noise = torch.randn(500, 1, 1)
    mode = distribution.mode(noise)
    grid = torch.linspace(-0.99, 0.99, 2001)
    best = grid[distribution.log_prob(torch.atanh(grid)[:, None]).argmax()]
    assert abs(mode.item() - best.item()) < 0.05


def test_tanh_normal_entropy_of_a_narrow_distribution_is_the_gaussians() -> None:
    std = torch.full((1, 1), 0.01).double()
    distribution = TanhNormal(torch.zeros(1, 1).double(), std)
    exact = Normal(0.0, std).entropy().sum(-1)
    torch.testing.assert_close(
        distribution.entropy(torch.randn(20_000, 1, 1).double()), exact, rtol=0, atol=0.02
    )


def test_tanh_normal_sample_carries_the_gradient_of_mean_and_std() -> None:
    mean, std = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
    noise = torch.tensor([[0.5, -1.0]])
    action = TanhNormal(mean, std).sample(noise)
    slope = 1 - action.detach().square()
    by_mean, by_std = torch.autograd.grad(action.sum(), [mean, std])
    torch.testing.assert_close(by_mean, slope)
    torch.testing.assert_close(by_std, slope * noise)


def test_one_hot_actions_follow_their_probabilities() -> None:
    actor = Actor(6, ActionSpec(5, groups=(2, 3)), units=8)
    distribution = actor(torch.randn(1, 6))
    assert isinstance(distribution, OneHot)
    noise = actor.draw_noise(4000, 1, generator=torch.Generator().manual_seed(0))
    actions = distribution.sample(noise)
    probs = torch.cat([x.softmax(-1) for x in distribution.logits.split((2, 3), -1)], -1)
    torch.testing.assert_close(actions.mean(0), probs, rtol=0, atol=0.03)
    assert set(actions.unique().tolist()) <= {0.0, 1.0}
    assert (actions[..., :2].sum(-1) == 1).all()
    assert (actions[..., 2:].sum(-1) == 1).all()
    mode = distribution.mode(noise[0])
    assert mode.argmax() == probs[..., :2].argmax()


def test_one_hot_entropy_and_straight_through_gradient() -> None:
    logits = torch.randn(1, 3, requires_grad=True)
    distribution, weight = OneHot(logits, (3,)), torch.randn(3)
    expected = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(distribution.entropy(torch.zeros(0)), expected.entropy())
    sample = distribution.sample(torch.randn(1, 3))
    (grad,) = torch.autograd.grad((sample * weight).sum(), logits)
    (right,) = torch.autograd.grad((logits.softmax(-1) * weight).sum(), logits)
    torch.testing.assert_close(grad, right)


def test_one_hot_log_prob_equals_pytorchs() -> None:
    distribution = OneHot(torch.randn(4, 5), (2, 3))
    action = distribution.sample(torch.randn(4, 5))
    pairs = zip(distribution.logits.split((2, 3), -1), action.split((2, 3), -1), strict=True)
    expected = [torch.distributions.Categorical(logits=x).log_prob(a.argmax(-1)) for x, a in pairs]
    torch.testing.assert_close(distribution.log_prob(action), sum(expected))


def test_acting_samples_where_it_explores_and_takes_the_mode_elsewhere() -> None:
    actor, feat = Actor(6, ActionSpec(2), units=8), torch.randn(3, 6)
    explored = actor.act(feat, True, torch.Generator().manual_seed(0))
    noise = actor.draw_noise(3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(explored, actor.sample(feat, noise))
    evaluated = actor.act(feat, False, torch.Generator().manual_seed(0))
    noise = actor.draw_noise(100, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(evaluated, actor(feat).mode(noise))


def test_statistics_of_a_continuous_actor() -> None:
    """With zero weights the mean is 0 and the std 5; noise of 1 gives the action tanh 5, beyond 0.99, and 0 gives 0."""
    actor = Actor(6, ActionSpec(2), units=8)
    for parameter in actor.parameters():
        torch.nn.init.zeros_(parameter)
    feat, noise = torch.zeros(4, 6), torch.tensor([[0.0, 1.0]]).repeat(4, 1)
    statistics = actor.statistics(feat, noise)
    assert statistics["actor/saturated"] == 0.5
    std = 5 + 1e-4
    normal = -0.5 * 1**2 - 2 * math.log(std) - math.log(2 * math.pi)
    slope = 2 * (math.log(2) - std - math.log1p(math.exp(-2 * std)))
    # Float32 numbers of about 9 and a handful of roundings.
    assert statistics["actor/entropy"].item() == pytest.approx(-(normal - slope), rel=1e-5)


def test_statistics_of_a_discrete_actor() -> None:
    actor = Actor(6, ActionSpec(5, (3, 2)), units=8)
    for parameter in actor.parameters():
        torch.nn.init.zeros_(parameter)
    statistics = actor.statistics(torch.zeros(4, 6), torch.zeros(4, 5))
    assert statistics.keys() == {"actor/entropy"}
    assert statistics["actor/entropy"].item() == pytest.approx(math.log(6), rel=1e-6)
