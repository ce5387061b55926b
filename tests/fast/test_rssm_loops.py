"""The quicker filter and imagination against the plain ones, forward and backward."""

import pytest
import torch
from torch import Tensor

from dreamer.behavior.actor import Actor
from dreamer.fast.rssm_loops import FastRSSM
from dreamer.types import ActionSpec
from dreamer.world_model.rssm import RSSM, State
from fast.exact import distance, float64

B, T, H, A, E, S, D = 6, 9, 7, 2, 16, 5, 24
BOX, BUTTONS = ActionSpec(A), ActionSpec(A, (A,))


def pair(dtype: torch.dtype = torch.float32) -> tuple[RSSM, FastRSSM]:
    """An RSSM and a quicker one with the same weights, biases not zero."""
    plain = RSSM(action=A, embed=E, stoch=S, deter=D, hidden=20).to(dtype)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.1)
    fast = FastRSSM(action=A, embed=E, stoch=S, deter=D, hidden=20).to(dtype)
    fast.load_state_dict(plain.state_dict())
    return plain, fast


def results_of(states: list[State], sources: list[Tensor]) -> list[Tensor]:
    """The states and the gradients of a random function of them."""
    values = [x for state in states for x in state if x.requires_grad]
    rng = torch.Generator().manual_seed(0)
    weights = [torch.randn(x.shape, generator=rng, dtype=torch.float32).to(x) for x in values]
    total = torch.stack([(x * weight).sum() for x, weight in zip(values, weights, strict=True)]).sum()
    return [*values, *torch.autograd.grad(total, sources)]


def filtered(rssm: RSSM, inputs: list[Tensor], start: State | None, half: bool = False) -> list[Tensor]:
    """All that filtering gives: posteriors, priors, and the gradients of weights, embeddings and start."""
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[::2, 0] = is_first[1, 4] = is_first[2, 4] = is_first[3, T - 1] = True
    dtype = rssm.gru.weight_hh.dtype
    embed, action, noise = (x.to(dtype) for x in inputs)
    start = start and start.map(lambda x: x.to(dtype).requires_grad_())
    embed.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        states = rssm.observe(embed, action, is_first, noise, start)
    sources = [*rssm.parameters(), embed, *([start.stoch, start.deter] if start else [])]
    return results_of(list(states), sources)


def imagined(rssm: RSSM, actor: Actor, start: State, noise: list[Tensor], half: bool = False) -> list[Tensor]:
    """All that imagination gives: states, and the gradients of the actor's weights."""
    dtype = rssm.gru.weight_hh.dtype
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        states = rssm.imagine(actor.sample, start.map(lambda x: x.to(dtype)), *(x.to(dtype) for x in noise))
    return results_of([states], list(actor.parameters()))


def filter_inputs(given_start: bool) -> tuple[list[Tensor], State | None]:
    start = State(*(torch.randn(B, n) for n in (S, S, S, D))) if given_start else None
    return [torch.randn(B, T, n) for n in (E, A, S)], start


def imagination_inputs() -> tuple[State, list[Tensor]]:
    return State(*(torch.randn(B, n) for n in (S, S, S, D))), [torch.randn(H, B, n) for n in (A, S)]


START = pytest.mark.parametrize("given_start", [False, True], ids=["from_zeros", "from_a_state"])
SPECS = pytest.mark.parametrize("spec", [BOX, BUTTONS], ids=["box", "buttons"])


@START
def test_filter_equals_plain_one_in_float64(given_start: bool) -> None:
    """1e-12 is ten thousand roundings: only another function is further off."""
    inputs, start = filter_inputs(given_start)
    with float64():
        expected, ours = (filtered(rssm, inputs, start) for rssm in pair(torch.float64))
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@START
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_filter_is_as_exact_as_plain_one(given_start: bool, half: bool) -> None:
    """Both round as often, in another order: neither is more than twice as far from the exact numbers."""
    inputs, start = filter_inputs(given_start)
    plain, fast = pair()
    with float64():
        exact_rssm = RSSM(action=A, embed=E, stoch=S, deter=D, hidden=20).double()
        exact_rssm.load_state_dict(plain.state_dict())
        exact = filtered(exact_rssm, inputs, start)
    theirs, ours = (filtered(rssm, inputs, start, half) for rssm in (plain, fast))
    assert [x.dtype for x in ours] == [x.dtype for x in theirs]
    assert distance(ours, exact) < 2 * distance(theirs, exact)
    assert distance(theirs, exact) < (0.02 if half else 1e-6)


@SPECS
def test_imagination_equals_plain_one_in_float64(spec: ActionSpec) -> None:
    start, noise = imagination_inputs()
    with float64():
        actor = Actor(S + D, spec, units=12).double()
        expected, ours = (imagined(rssm, actor, start, noise) for rssm in pair(torch.float64))
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)
