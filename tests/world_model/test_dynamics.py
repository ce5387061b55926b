"""The RSSM: a filter that can be run step by step, and forgets where an episode begins."""

import pytest
import torch
from torch import Tensor, nn

from dreamer.world_model.elementwise import gated
from dreamer.world_model.rssm import GRU, RSSM
from dreamer.world_model.state import State, stack

B, T, A, E, S, D = 3, 6, 2, 4, 3, 5


def _rssm() -> RSSM:
    return RSSM(action=A, embed=E, stoch=S, deter=D, hidden=7, min_std=0.1)


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(B, T, E), torch.randn(B, T, A), torch.randn(B, T, S)


def _assert_same(ours: State, expected: State) -> None:
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_observe_is_the_filter_step_by_step() -> None:
    rssm, (embed, action, noise) = _rssm(), _inputs()
    posterior, prior = rssm.observe(embed, action, noise)
    state, steps = rssm.initial(B), []
    for t in range(T):
        state = rssm.observe_step(state, action[:, t], embed[:, t], noise[:, t])
        steps.append(state)
    _assert_same(posterior, stack(steps, dim=1))
    _assert_same(prior, rssm.prior(posterior.deter))


def test_observe_goes_on_from_a_state() -> None:
    rssm, (embed, action, noise) = _rssm(), _inputs()
    whole, _ = rssm.observe(embed, action, noise)
    first, _ = rssm.observe(embed[:, :2], action[:, :2], noise[:, :2])
    rest, _ = rssm.observe(embed[:, 2:], action[:, 2:], noise[:, 2:], state=first.map(lambda x: x[:, -1]))
    _assert_same(rest, whole.map(lambda x: x[:, 2:]))


def test_a_first_step_makes_a_sequence_of_its_own() -> None:
    rssm, (embed, action, noise) = _rssm(), _inputs()
    action[:, 0] = action[1, 3] = 0  # as in every episode's first element
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 0] = is_first[1, 3] = True
    joined, _ = rssm.observe(embed, action, noise, is_first=is_first)
    plain, _ = rssm.observe(embed, action, noise)
    alone, _ = rssm.observe(embed[1:2, 3:], action[1:2, 3:], noise[1:2, 3:])
    _assert_same(joined.map(lambda x: x[1:2, 3:]), alone)
    _assert_same(joined.map(lambda x: x[::2]), plain.map(lambda x: x[::2]))
    assert not torch.allclose(joined.deter[1, 3:], plain.deter[1, 3:])


def test_nothing_flows_back_over_the_beginning_of_an_episode() -> None:
    rssm, (embed, action, noise) = _rssm(), _inputs()
    embed.requires_grad_()
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 3] = True
    posterior, _ = rssm.observe(embed, action, noise, is_first=is_first)
    (grad,) = torch.autograd.grad(posterior.feat[:, 3:].sum(), embed)
    assert not grad[:, :3].any()
    assert grad[:, 3:].all(-1).any()


def test_imagine_follows_the_prior() -> None:
    rssm, (_, action, noise) = _rssm(), _inputs()
    start = State(*(torch.randn(B, n) for n in (S, S, S, D)))
    dream = rssm.imagine(start, action, noise)
    state = start
    for t in range(T):
        state = rssm.imagine_step(state, action[:, t], noise[:, t])
        _assert_same(state, dream.map(lambda x, t=t: x[:, t]))
        _assert_same(state, rssm.prior(state.deter, noise[:, t]))


def test_a_sample_is_mean_plus_std_times_noise() -> None:
    rssm, (embed, action, noise) = _rssm(), _inputs()
    posterior, prior = rssm.observe(embed, action, noise)
    torch.testing.assert_close(posterior.stoch, posterior.mean + posterior.std * noise)
    assert torch.equal(prior.stoch, prior.mean)
    assert min(posterior.std.min(), prior.std.min()) > 0.1
    assert torch.equal(posterior.feat, torch.cat([posterior.stoch, posterior.deter], -1))


def test_the_gru_is_pytorchs_cell() -> None:
    ours, cell = GRU(4, 5), nn.GRUCell(4, 5)
    with torch.no_grad():
        cell.weight_ih.copy_(ours.input.weight)
        cell.weight_hh.copy_(ours.recurrent.weight)
        for mine, theirs in ((ours.input.bias, cell.bias_ih), (ours.recurrent.bias, cell.bias_hh)):
            theirs.copy_(mine.normal_())
    x, h = torch.randn(3, 4), torch.randn(3, 5)
    torch.testing.assert_close(ours(x, h), cell(x, h))


def test_many_actions_may_be_tried_in_one_state() -> None:
    rssm, (_, action, noise) = _rssm(), _inputs()
    start = State(*(torch.randn(B, n) for n in (S, S, S, D)))
    dream = rssm.over_time(learns=False)
    together = dream.imagine_step(start.map(lambda x: x.unsqueeze(1)), action, noise)
    for j in range(T):
        _assert_same(
            together.map(lambda x, j=j: x[:, j]), rssm.imagine_step(start, action[:, j], noise[:, j])
        )


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
@pytest.mark.parametrize("leading", [(7,), (2, 3)], ids=["rows", "rows of rows"])
def test_one_kernel_of_the_gpu_is_the_gru(
    leading: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    """Value and gradients, against the same numbers in float64 on the CPU."""
    exact = [torch.randn(*leading, n, dtype=dtype).double() for n in (3 * D, 3 * D, D)]
    given = [x.to("cuda", dtype) for x in exact]
    for inputs in (exact, given):
        for x in inputs:
            x.requires_grad_()
    expected, found = gated(*exact), gated(*given)
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=tolerance, atol=tolerance)
    weight = torch.randn(expected.shape, dtype=torch.float64)
    ours = torch.autograd.grad(found, given, weight.to("cuda", dtype))
    for mine, theirs in zip(ours, torch.autograd.grad(expected, exact, weight), strict=True):
        torch.testing.assert_close(mine.cpu().double(), theirs, rtol=tolerance, atol=tolerance)
