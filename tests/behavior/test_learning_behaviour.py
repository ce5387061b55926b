"""Which loss moves what: the actor through the model, the value towards returns that stand still."""

import pytest
import torch
from torch import Tensor

from behavior.tiny import imagined, losses, parts
from dreamer.behavior.imagine import imagine
from dreamer.behavior.lambda_return import discount_weights, lambda_return
from dreamer.world_model import gaussian
from dreamer.world_model.dense import ScalarHead


def _touched(loss: Tensor, module: torch.nn.Module) -> bool:
    grads = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(grad is not None and bool(grad.any()) for grad in grads)


def test_published_number_of_parameters_of_the_value() -> None:
    assert sum(p.numel() for p in ScalarHead(230, layers=3, units=400).parameters()) == 413_601


def test_dreams_start_detached_and_leave_the_start_out() -> None:
    tiny = parts()
    states = imagine(tiny.model.rssm, tiny.behavior.actor, tiny.start, *tiny.noise)
    assert states.stoch.shape[:2] == tiny.noise.state.shape[:2]
    first = tiny.behavior.actor(tiny.start.feat).sample(tiny.noise.action[0])
    expected = tiny.model.rssm.imagine_step(tiny.start, first, tiny.noise.state[0])
    torch.testing.assert_close(states.feat[0], expected.feat)


def test_the_value_loss_has_no_gradient_by_actor_and_model() -> None:
    """Its own parameters apart, every path of the target is cut: only the features that are read remain."""
    tiny = parts()
    feat = imagined(tiny).detach()
    reward, value, discount = tiny.model.reward(feat), tiny.behavior.value(feat), tiny.model.discount(feat)
    target = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 0.95).detach()
    weights = discount_weights(discount[:-1])
    expected = (weights * (0.5 * (value[:-1] - target).square() + gaussian.HALF_LOG_TWO_PI)).mean()
    actor_loss, value_loss, _ = losses(tiny)
    torch.testing.assert_close(value_loss, expected)
    torch.testing.assert_close(actor_loss, -(weights * target).mean())
    ours = torch.autograd.grad(value_loss, list(tiny.behavior.value.parameters()))
    right = torch.autograd.grad(expected, list(tiny.behavior.value.parameters()))
    torch.testing.assert_close(ours, right)


def test_the_actor_learns_through_dynamics_reward_and_value() -> None:
    tiny = parts()
    actor_loss, _, _ = losses(tiny)
    assert _touched(actor_loss, tiny.behavior.actor)
    tiny.model.reward.out.weight.data.zero_()
    tiny.behavior.value.out.weight.data.zero_()
    blind, _, _ = losses(tiny)
    assert not _touched(blind, tiny.behavior.actor)


def test_an_action_is_not_credited_for_the_actions_that_it_provokes() -> None:
    """The return by each action, times that action by the weights in a state that stands still."""
    tiny = parts()
    model, behavior = tiny.model, tiny.behavior
    feat = imagined(tiny).detach()
    read = torch.cat([tiny.start.feat[None], feat[:-1]])
    actions = behavior.actor(read).sample(tiny.noise.action)
    given = actions.detach().requires_grad_()
    states = model.rssm.imagine(tiny.start, given.transpose(0, 1), tiny.noise.state.transpose(0, 1))
    dream = states.feat.transpose(0, 1)
    torch.testing.assert_close(dream.detach(), feat)
    reward, value, discount = model.reward(dream), behavior.value(dream), model.discount(dream)
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], 0.95)
    (by_action,) = torch.autograd.grad(-(discount_weights(discount[:-1]) * returns).mean(), given)
    assert by_action[:-1].abs().max() > 0
    weights = list(behavior.actor.parameters())
    expected = torch.autograd.grad(actions, weights, by_action)
    torch.testing.assert_close(torch.autograd.grad(losses(tiny)[0], weights), expected)


def test_the_actors_gradient_is_the_slope_of_the_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against finite differences, for an actor that does the same in every state."""
    monkeypatch.setattr(Tensor, "float", lambda x: x)  # losses are float32 by design, too coarse for this
    tiny = parts(double=True)
    bias = tiny.behavior.actor.head.out.bias
    tiny.behavior.actor.head.out.weight.data.zero_()
    (grad,) = torch.autograd.grad(losses(tiny)[0], bias)
    numeric = torch.zeros_like(bias)
    for i in range(len(bias)):
        ends = []
        for step in (1e-6, -1e-6):
            bias.data[i] += step
            ends.append(losses(tiny)[0].detach())
            bias.data[i] -= step
        numeric[i] = (ends[0] - ends[1]) / 2e-6
    torch.testing.assert_close(grad, numeric, rtol=1e-4, atol=1e-9)
    assert grad.abs().min() > 1e-7
