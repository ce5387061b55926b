"""How the actor learns through the world model, and the value model towards returns that stand still."""

import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.behavior.actor import Actor
from dreamer.behavior.imagination import discount_weights, imagination_starts, lambda_return
from dreamer.types import Batch, Noise
from dreamer.world_model.gaussian import HALF_LOG_TWO_PI
from dreamer.world_model.mlp import ScalarMLP
from dreamer.world_model.rssm import State, given
from helpers import STATE, random_batch, random_noise, small_agent, small_dreamer, trial_update, weights


@pytest.fixture
def dreamer() -> Dreamer:
    return small_dreamer(STATE)


@pytest.fixture
def data() -> Batch:
    return random_batch(STATE, 2, 3)


def starts(dreamer: Dreamer, data: Batch, noise: Noise) -> State:
    model = dreamer.world_model
    posterior, _ = model.rssm.observe(model.encoder(data), data["action"], data["is_first"], noise["filter"])
    return imagination_starts(model, posterior, data)[0]


def returns_and_weights(dreamer: Dreamer, feat: Tensor) -> tuple[Tensor, Tensor]:
    """Lambda-returns of imagined features `(H, N, F)`, and how much each counts: `(H - 1, N)`."""
    reward, discount = dreamer.world_model.reward(feat), dreamer.world_model.discount(feat)
    value = dreamer.value(feat)
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 0.95)
    return returns, discount_weights(discount[:-1])


def test_published_number_of_parameters_of_the_value_model() -> None:
    assert sum(p.numel() for p in ScalarMLP(230, layers=3, units=400).parameters()) == 413_601


@pytest.mark.parametrize("pcont", [False, True])
def test_losses_equal_their_equations(pcont: bool, data: Batch) -> None:
    """Every path of the value's target is cut: only the features that are read remain."""
    dreamer = small_dreamer(STATE, pcont=pcont)
    noise = random_noise(dreamer, data)
    start = starts(dreamer, data, noise)
    rssm = dreamer.world_model.rssm
    feat = rssm.imagine(dreamer.actor.sample, start, noise["action"], noise["state"]).feat.detach()
    target, weight = (x.detach() for x in returns_and_weights(dreamer, feat))
    value = dreamer.value(feat)[:-1]
    value_loss = (weight * (0.5 * (value - target).square() + HALF_LOG_TWO_PI)).mean()
    metrics, gradients = trial_update(dreamer, data, noise)
    torch.testing.assert_close(metrics["value/loss"], value_loss.detach())
    torch.testing.assert_close(metrics["actor/loss"], -(weight * target).mean())
    expected = torch.autograd.grad(value_loss, list(dreamer.value.parameters()))
    torch.testing.assert_close(gradients["value"], list(expected))


def test_actor_learns_through_dynamics_reward_and_value(dreamer: Dreamer, data: Batch) -> None:
    noise = random_noise(dreamer, data)
    assert trial_update(dreamer, data, noise)[0]["actor/grad_norm"] > 0
    with torch.no_grad():
        dreamer.world_model.reward.out.weight.zero_()
    assert trial_update(dreamer, data, noise)[0]["actor/grad_norm"] > 0
    with torch.no_grad():
        dreamer.value.out.weight.zero_()
    assert trial_update(dreamer, data, noise)[0]["actor/grad_norm"] == 0


def test_action_is_not_credited_for_the_actions_that_it_provokes(dreamer: Dreamer, data: Batch) -> None:
    """The slope of the return by each action, times that of the action by the weights at a fixed state."""
    noise, rssm = random_noise(dreamer, data), dreamer.world_model.rssm
    start = starts(dreamer, data, noise)
    feat = rssm.imagine(dreamer.actor.sample, start, noise["action"], noise["state"]).feat.detach()
    read = torch.cat([start.feat[None], feat[:-1]])
    actions = dreamer.actor.sample(read, noise["action"])
    known = actions.detach().requires_grad_()
    again = rssm.imagine(given, start, known, noise["state"]).feat
    torch.testing.assert_close(again.detach(), feat)
    returns, weight = returns_and_weights(dreamer, again)
    (by_action,) = torch.autograd.grad(-(weight * returns).mean(), known)
    assert by_action[:-1].abs().max() > 0
    expected = torch.autograd.grad(actions, list(dreamer.actor.parameters()), by_action)
    _, gradients = trial_update(dreamer, data, noise)
    torch.testing.assert_close(gradients["actor"], list(expected), rtol=1e-4, atol=1e-6)


def test_actors_gradient_is_the_slope_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against finite differences, for an actor that does the same in every state."""
    monkeypatch.setattr(Tensor, "float", lambda x: x)  # losses are float32 by design, too coarse for this
    dreamer = small_dreamer(STATE).double()
    data = {key: x.double() if x.is_floating_point() else x for key, x in random_batch(STATE, 2, 3).items()}
    noise = {key: x.double() for key, x in random_noise(dreamer, data).items()}
    with torch.no_grad():
        dreamer.actor.mlp.out.weight.zero_()
    bias = dreamer.actor.mlp.out.bias.data
    gradient = trial_update(dreamer, data, noise)[1]["actor"][-1]
    numeric = torch.zeros_like(bias)
    for i in range(len(bias)):
        ends = []
        for step in (1e-6, -1e-6):
            bias[i] += step
            ends.append(trial_update(dreamer, data, noise, "model and value")[0]["actor/loss"])
            bias[i] -= step
        numeric[i] = (ends[0] - ends[1]) / 2e-6
    torch.testing.assert_close(gradient, numeric, rtol=1e-4, atol=1e-9)
    assert gradient.abs().min() > 1e-7


@pytest.mark.parametrize("fast", [False, True])
def test_statistics_change_nothing_that_is_learned(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_them, without = (small_agent(STATE, fast=fast) for _ in range(2))
    for seed in range(2):
        with_them.update(random_batch(STATE, seed=seed))
    monkeypatch.setattr(Actor, "statistics", lambda *_: {})
    for seed in range(2):
        without.update(random_batch(STATE, seed=seed))
    assert torch.equal(with_them.generator.get_state(), without.generator.get_state())
    ours, theirs = weights(with_them.algorithm), weights(without.algorithm)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
