"""The planner on problems whose answers are known, and on several environments at once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.behavior.cem import Planner, PlanNoise, cem, fit_elites, plan_returns
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel
from helpers import STATE, small_config

H, N, J, A, S, D = 4, 3, 200, 2, 5, 6


def draw(iterations: int, n: int = N) -> list[PlanNoise]:
    return [PlanNoise(torch.randn(H, n, J, A), torch.randn(H, n, J, S)) for _ in range(iterations)]


def test_cem_finds_the_top_of_a_quadratic_for_each_environment() -> None:
    top = torch.rand(H, N, 1, A) * 1.6 - 0.8

    def returns_of(actions: Tensor, noise: Tensor) -> Tensor:
        return -(actions - top).square().sum((0, 3))

    best = cem(returns_of, draw(15), (H, N, A), elites=20)
    torch.testing.assert_close(best, top.squeeze(2), rtol=0, atol=0.02)


def test_cem_meets_a_top_outside_the_bounds_at_the_bound() -> None:
    best = cem(lambda actions, noise: actions.sum((0, 3)), draw(12), (H, N, A), elites=20)
    torch.testing.assert_close(best, torch.ones(H, N, A), rtol=0, atol=0.01)


def test_fit_elites_equals_loop() -> None:
    actions, returns = torch.randn(H, N, J, A).clamp(-1, 1), torch.randn(N, J)
    mean, std = fit_elites(actions, returns, elites=7)
    for n in range(N):
        chosen = sorted(range(J), key=lambda j, n=n: -float(returns[n, j]))[:7]
        best = torch.stack([actions[:, n, j] for j in chosen])
        torch.testing.assert_close(mean[:, n, 0], best.mean(0))
        variance = (best - best.mean(0)).square().mean(0)
        torch.testing.assert_close(std[:, n, 0], (variance + 1e-6).sqrt())


def test_cem_without_iterations_plans_zeros() -> None:
    assert not cem(lambda actions, noise: actions.sum((0, 3)), [], (H, N, A), elites=20).any()


@pytest.fixture
def model() -> WorldModel:
    return small_model()


def small_model(**options: Any) -> WorldModel:
    return WorldModel(STATE, small_config(stoch=S, deter=D, **options))


def random_start(n: int) -> State:
    stoch = torch.randn(n, S)
    return State(stoch, torch.ones(n, S), stoch, torch.randn(n, D).tanh())


def row(state: State, n: int) -> State:
    return state.map(lambda x: x[n : n + 1])


@torch.no_grad()
@pytest.mark.parametrize("pcont", [False, True])
def test_plan_returns_equal_loop(pcont: bool) -> None:
    model, start, (noise,) = small_model(pcont=pcont), random_start(N), draw(1)
    returns = plan_returns(model, start, *noise)
    assert returns.shape == (N, J)
    for n, j in [(0, 0), (1, 17), (2, J - 1)]:
        state, total, reached = row(start, n), 0.0, 1.0
        for t in range(H):
            state = model.rssm.imagine_step(
                state, noise.action[t, n, j : j + 1], noise.state[t, n, j : j + 1]
            )
            total += reached * float(model.reward(state.feat))
            if pcont:
                reached *= float(model.discount(state.feat))
        assert returns[n, j].item() == pytest.approx(total, abs=1e-5)


@torch.no_grad()
def test_plan_returns_leave_out_what_lies_behind_a_predicted_end() -> None:
    model, start, (noise,) = small_model(pcont=True), random_start(N), draw(1)
    assert model.pcont is not None
    model.pcont.out.weight.zero_()
    returns = {}
    for logit in (-100.0, 100.0):
        model.pcont.out.bias.fill_(logit)
        returns[logit] = plan_returns(model, start, *noise)
    model.pcont = None
    torch.testing.assert_close(returns[-100.0], plan_returns(model, start, noise.action[:1], noise.state[:1]))
    torch.testing.assert_close(returns[100.0], plan_returns(model, start, *noise))


@torch.no_grad()
def test_planner_takes_the_first_action_of_the_best_plan(model: WorldModel) -> None:
    planner, start, noise = Planner(A, H, 4, J, 20), random_start(N), draw(4)
    best = cem(lambda actions, n: plan_returns(model, start, actions, n), noise, (H, N, A), elites=20)
    assert torch.equal(planner.plan(model, start, noise), best[0])


@torch.no_grad()
def test_planner_for_several_environments_equals_each_alone(model: WorldModel) -> None:
    planner, start, noise = Planner(A, H, 4, J, 20), random_start(2), draw(4, n=2)
    together = planner.plan(model, start, noise)
    for n in range(2):
        alone = [PlanNoise(a[:, n : n + 1], s[:, n : n + 1]) for a, s in noise]
        own = planner.plan(model, row(start, n), alone)
        torch.testing.assert_close(together[n : n + 1], own, rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_plan_noise_is_drawn_for_every_iteration_by_the_generator() -> None:
    planner, beginning = Planner(A, H, iterations=3, candidates=J, elites=20), random_start(N)
    once, again = (list(planner.draw_noise(beginning, torch.Generator().manual_seed(1))) for _ in range(2))
    assert [noise.action.shape for noise in once] == [(H, N, J, A)] * 3
    assert once[0].state.shape == (H, N, J, S)
    assert all(torch.equal(a.action, b.action) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0].action, once[1].action)
