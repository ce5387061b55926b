"""Imagined trajectories with a backward pass by hand, against those that autograd differentiates."""

import copy

import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.fast import accelerate
from dreamer.fast.imagination import imagine
from dreamer.world_model.rssm import State
from helpers import BUTTONS, IMAGE, random_noise, small_dreamer

SIZES = {"stoch": 6, "deter": 20, "hidden": 24, "units": 16, "horizon": 7}


def starts(dreamer: Dreamer, n: int = 12) -> State:
    generator = torch.Generator().manual_seed(1)
    zeros = dreamer.world_model.rssm.initial(n)
    return zeros.map(lambda x: torch.randn(x.shape, generator=generator))


def trajectory(dreamer: Dreamer, n: int = 12) -> tuple[State, list[Tensor]]:
    """The states, and the gradients of a weighted sum of all four parts by the actor's parameters."""
    generator = torch.Generator().manual_seed(2)
    noise = dreamer.draw_noise(1, n, generator)
    states = dreamer.world_model.rssm.imagine(
        dreamer.actor.sample, starts(dreamer, n), noise["action"], noise["state"]
    )
    weights = [torch.randn(x.shape, generator=generator) for x in states]
    loss = torch.stack([(x * w).sum() for x, w in zip(states, weights, strict=True)]).sum()
    return states, list(torch.autograd.grad(loss, list(dreamer.actor.parameters())))


def both() -> tuple[Dreamer, Dreamer]:
    """The plain and the quicker form of one Dreamer, with biases that are not zero."""
    plain = small_dreamer(IMAGE, **SIZES)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    quicker = copy.deepcopy(plain)
    accelerate(quicker)
    return plain, quicker


def test_imagined_states_and_gradients_equal_the_plain_ones() -> None:
    plain, quicker = both()
    (states, gradients), (expected_states, expected) = trajectory(quicker), trajectory(plain)
    torch.testing.assert_close(states, expected_states, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        # Float32 sums of H N terms in another order: relative to the largest element of the tensor.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_bfloat16_error_is_no_larger_than_the_plain_one() -> None:
    plain, quicker = both()
    exact_states, exact = trajectory(plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain_states, plain_gradients = trajectory(plain)
        quick_states, quick_gradients = trajectory(quicker)
    ours, theirs = [*quick_states, *quick_gradients], [*plain_states, *plain_gradients]
    assert [x.dtype for x in ours] == [x.dtype for x in theirs]
    # Both round every product once to 8 bits, at other places: errors of like size, not equal ones.
    truth = [*exact_states, *exact]
    assert relative_error(ours, truth) <= 1.5 * relative_error(theirs, truth)


def relative_error(tensors: list[Tensor], truth: list[Tensor]) -> float:
    """Root mean square over tensors of the error's norm, relative to the tensor's own."""
    errors = [((x - y).norm() / y.norm()).detach() for x, y in zip(tensors, truth, strict=True)]
    return float(torch.stack(errors).square().mean().sqrt())


def test_gradients_reach_the_actor_alone() -> None:
    _, quicker = both()
    states, _ = trajectory(quicker)
    parameters = list(quicker.world_model.rssm.parameters())
    gradients = torch.autograd.grad(states.feat.sum(), parameters, allow_unused=True)
    assert all(gradient is None for gradient in gradients)


@pytest.mark.parametrize("part", range(4))
def test_gradient_of_each_part_by_itself(part: int) -> None:
    gradients = []
    for dreamer in both():
        noise = random_noise(dreamer, {"reward": torch.zeros(1, 12)})
        arguments = (starts(dreamer), noise["action"], noise["state"])
        states = dreamer.world_model.rssm.imagine(dreamer.actor.sample, *arguments)
        gradients.append(torch.autograd.grad(states[part].square().sum(), list(dreamer.actor.parameters())))
    for theirs, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_discrete_actions_and_acting_take_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamer.fast.rssm_loops.imagine", lambda *_: pytest.fail("by hand"))
    dreamer = small_dreamer(BUTTONS, **SIZES)
    accelerate(dreamer)
    trajectory(dreamer)
    continuous = both()[1]
    with torch.no_grad():
        noise = continuous.draw_noise(1, 3, torch.Generator().manual_seed(0))
        rssm = continuous.world_model.rssm
        rssm.imagine(continuous.actor.sample, starts(continuous, 3), noise["action"], noise["state"])


def test_imagine_needs_no_policy_object() -> None:
    plain, _ = both()
    noise = plain.draw_noise(1, 12, torch.Generator().manual_seed(2))
    states = imagine(plain.world_model.rssm, plain.actor, starts(plain), noise["action"], noise["state"])
    torch.testing.assert_close(states, trajectory(plain)[0], rtol=1e-5, atol=1e-5)
