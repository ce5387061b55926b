"""The actor without a value model: its loss against a loop, its gradient against finite differences."""

import pytest
import torch
from torch import Tensor

from dreamer.behavior.no_value import NoValueBehavior
from dreamer.config import BehaviorConfig, ModelConfig
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.world_model.state import State
from dreamer.world_model.world_model import WorldModel

SPEC = EnvSpec({}, {"state": 3}, ActionSpec(2))
MODEL = ModelConfig(stoch=3, deter=5, hidden=6, units=6)
CONFIG = BehaviorConfig(horizon=4, gamma=0.9)
N = 3


@pytest.fixture
def world() -> WorldModel:
    return WorldModel(SPEC, MODEL, CONFIG.gamma)


def start() -> State:
    stoch = torch.randn(N, 3)
    return State(stoch, torch.ones(N, 3), stoch, torch.randn(N, 5).tanh())


def by_loop(world: WorldModel, actions: list[Tensor], beginning: State, noise: Tensor) -> Tensor:
    """Minus the mean over all steps and dreams of what is still to come, under given actions."""
    state, rewards = beginning, []
    for action, noise_s in zip(actions, noise, strict=True):
        state = world.rssm.imagine_step(state, action, noise_s)
        rewards.append(world.reward(state.feat))
    total = torch.zeros((), dtype=rewards[0].dtype)
    for i in range(len(rewards)):
        for k in range(i, len(rewards)):
            total = total + (CONFIG.gamma ** (k - i) * rewards[k]).mean()
    return -total / len(rewards)


def follow(world: WorldModel, behavior: NoValueBehavior, beginning: State, noise) -> tuple[list, list]:
    """Actions of the actor, and the features at which it chose them."""
    state, actions, features = beginning, [], []
    for noise_a, noise_s in zip(*noise, strict=True):
        features.append(state.feat.detach())
        actions.append(behavior.actor(features[-1]).sample(noise_a))
        state = world.rssm.imagine_step(state, actions[-1], noise_s)
    return actions, features


def test_loss_against_a_loop(world: WorldModel) -> None:
    behavior, beginning = NoValueBehavior(world, MODEL, CONFIG), start()
    noise = behavior.draw_noise(N, 3, None)
    actions, _ = follow(world, behavior, beginning, noise)
    loss, metrics = behavior.loss(world, beginning, noise)
    torch.testing.assert_close(loss, by_loop(world, actions, beginning, noise.state))
    assert not any(name.startswith("value") for name in metrics)


def test_dead_starts_count_for_nothing(world: WorldModel) -> None:
    behavior, beginning = NoValueBehavior(world, MODEL, CONFIG), start()
    noise = behavior.draw_noise(N, 3, None)
    alive = torch.tensor([1.0, 0.0, 1.0])
    loss, _ = behavior.loss(world, beginning, noise, alive)
    kept = [0, 2]
    fewer = type(noise)(*(x[:, kept] for x in noise))
    expected, _ = behavior.loss(world, beginning.map(lambda x: x[kept]), fewer)
    torch.testing.assert_close(loss, expected * 2 / 3)


def test_gradient_against_finite_differences(world: WorldModel, monkeypatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # heads and states keep their precision
    world.double()
    behavior = NoValueBehavior(world, MODEL, CONFIG).double()
    beginning = start().map(Tensor.double)
    noise = behavior.draw_noise(N, 3, None)
    noise = type(noise)(*(x.double() for x in noise))
    loss, _ = behavior.loss(world, beginning, noise)
    weights = list(behavior.actor.parameters())
    gradients = torch.autograd.grad(loss, weights)
    # The actor's gradient does not pass through what it reads: its features stay as they were.
    _, features = follow(world, behavior, beginning, noise)

    @torch.no_grad()
    def value() -> float:
        pairs = zip(features, noise.action, strict=True)
        return float(by_loop(world, [behavior.actor(f).sample(n) for f, n in pairs], beginning, noise.state))

    for weight, gradient in zip(weights, gradients, strict=True):
        flat, step = weight.data.view(-1), 1e-6
        for index in range(0, flat.numel(), 5):
            before = flat[index].item()
            flat[index] = before + step
            above = value()
            flat[index] = before - step
            below = value()
            flat[index] = before
            assert gradient.view(-1)[index].item() == pytest.approx((above - below) / (2 * step), abs=1e-7)
