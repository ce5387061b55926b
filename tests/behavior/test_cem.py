"""The planner on problems whose answers are known, and on several environments at once."""

import pytest
import torch
from torch import Tensor

from dreamer.behavior.cem import Planner, PlanNoise, cem, fit_elites, imagined_returns
from dreamer.world_model.dense import ScalarHead
from dreamer.world_model.rssm import RSSM
from dreamer.world_model.state import State

H, N, J, A, S, D = 4, 3, 200, 2, 5, 6


def draw(rounds: int, n: int = N) -> list[PlanNoise]:
    return [PlanNoise(torch.randn(H, n, J, A), torch.randn(H, n, J, S)) for _ in range(rounds)]


def test_finds_the_top_of_a_quadratic_of_each_environment() -> None:
    top = torch.rand(H, N, 1, A) * 1.6 - 0.8

    def returns_of(actions: Tensor, noise: Tensor) -> Tensor:
        return -(actions - top).square().sum((0, 3))

    best = cem(returns_of, draw(15), (H, N, A), elites=20)
    torch.testing.assert_close(best, top.squeeze(2), rtol=0, atol=0.02)


def test_a_top_outside_the_bounds_is_met_at_the_bound() -> None:
    best = cem(lambda actions, noise: actions.sum((0, 3)), draw(12), (H, N, A), elites=20)
    torch.testing.assert_close(best, torch.ones(H, N, A), rtol=0, atol=0.01)


def test_fit_against_a_loop() -> None:
    actions, returns = torch.randn(H, N, J, A).clamp(-1, 1), torch.randn(N, J)
    mean, std = fit_elites(actions, returns, elites=7)
    for n in range(N):
        chosen = sorted(range(J), key=lambda j, n=n: -float(returns[n, j]))[:7]
        best = torch.stack([actions[:, n, j] for j in chosen])
        torch.testing.assert_close(mean[:, n, 0], best.mean(0))
        variance = (best - best.mean(0)).square().mean(0)
        torch.testing.assert_close(std[:, n, 0], (variance + 1e-6).sqrt())


def test_without_rounds_the_plan_is_zero() -> None:
    assert not cem(lambda actions, noise: actions.sum((0, 3)), [], (H, N, A), elites=20).any()


@pytest.fixture
def model() -> tuple[RSSM, ScalarHead]:
    return RSSM(A, 3, S, D, 8, 0.1), ScalarHead(S + D, 1, 8)


def start(n: int) -> State:
    stoch = torch.randn(n, S)
    return State(stoch, torch.ones(n, S), stoch, torch.randn(n, D).tanh())


@torch.no_grad()
@pytest.mark.parametrize("ends", [False, True])
def test_return_of_a_plan_against_a_loop(model: tuple[RSSM, ScalarHead], ends: bool) -> None:
    rssm, reward = model
    pcont = ScalarHead(S + D, 1, 8) if ends else None
    beginning, (noise,) = start(N), draw(1)
    returns = imagined_returns(rssm, reward, beginning, pcont)(noise.action, noise.state)
    assert returns.shape == (N, J)
    for n, j in [(0, 0), (1, 17), (2, J - 1)]:
        state, total, reached = beginning.map(lambda x, n=n: x[n : n + 1]), 0.0, 1.0
        for t in range(H):
            state = rssm.imagine_step(state, noise.action[t, n, j : j + 1], noise.state[t, n, j : j + 1])
            total += reached * float(reward(state.feat))
            if pcont is not None:
                reached *= float(torch.sigmoid(pcont(state.feat)))
        assert returns[n, j].item() == pytest.approx(total, abs=1e-5)


@torch.no_grad()
def test_a_discount_head_cuts_off_what_lies_behind_an_end(model: tuple[RSSM, ScalarHead]) -> None:
    rssm, reward = model
    beginning, (noise,) = start(N), draw(1)
    pcont = ScalarHead(S + D, 0, 8)
    pcont.out.weight.zero_()
    returns = {}
    for logit in (-100.0, 100.0):
        pcont.out.bias.fill_(logit)
        returns[logit] = imagined_returns(rssm, reward, beginning, pcont)(noise.action, noise.state)
    judge = imagined_returns(rssm, reward, beginning)
    torch.testing.assert_close(returns[-100.0], judge(noise.action[:1], noise.state[:1]))
    torch.testing.assert_close(returns[100.0], judge(noise.action, noise.state))


def test_the_planner_heeds_a_discount_head(model: tuple[RSSM, ScalarHead]) -> None:
    planner, pcont = Planner(A, H, iterations=4, candidates=J, elites=20), ScalarHead(S + D, 1, 8)
    beginning, noise = start(N), draw(4)
    with torch.no_grad():
        pcont.out.bias.fill_(-2.0)
        wanted = cem(imagined_returns(*model, beginning, pcont), noise, (H, N, A), elites=20)[0]
    assert torch.equal(planner.plan(*model, beginning, noise, pcont), wanted)
    assert not torch.equal(planner.plan(*model, beginning, noise), wanted)


def test_environments_planned_together_equal_each_alone(model: tuple[RSSM, ScalarHead]) -> None:
    planner = Planner(A, H, iterations=4, candidates=J, elites=20)
    beginning, noise = start(2), draw(4, n=2)
    together = planner.plan(*model, beginning, noise)
    for n in range(2):
        alone = [PlanNoise(a[:, n : n + 1], s[:, n : n + 1]) for a, s in noise]
        own = planner.plan(*model, beginning.map(lambda x, n=n: x[n : n + 1]), alone)
        torch.testing.assert_close(together[n : n + 1], own, rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_noise_has_a_round_for_every_iteration_and_follows_the_generator() -> None:
    planner, beginning = Planner(A, H, iterations=3, candidates=J, elites=20), start(N)
    once, again = (list(planner.draw_noise(beginning, torch.Generator().manual_seed(1))) for _ in range(2))
    assert [noise.action.shape for noise in once] == [(H, N, J, A)] * 3
    assert once[0].state.shape == (H, N, J, S)
    assert all(torch.equal(a.action, b.action) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0].action, once[1].action)
