"""The actor without a value model: its loss against a loop, its gradient against finite differences."""

import copy

import pytest
import torch
from torch import Tensor

from dreamer.agents.no_value import NoValue
from dreamer.behavior.imagination import imagination_starts
from dreamer.types import Batch, EnvSpec, Noise
from dreamer.world_model.rssm import State
from helpers import STATE, random_batch, random_noise, small_agent, trial_update

GAMMA = 0.9


def small_no_value(spec: EnvSpec = STATE, **options) -> NoValue:
    algorithm = small_agent(spec, agent="no-value", gamma=GAMMA, **options).algorithm
    assert isinstance(algorithm, NoValue)
    return algorithm


def starts(algorithm: NoValue, data: Batch, noise: Noise) -> State:
    model = algorithm.world_model
    posterior, _ = model.rssm.observe(model.encoder(data), data["action"], data["is_first"], noise["filter"])
    return imagination_starts(model, posterior, data)[0]


def by_loop(algorithm: NoValue, actions: list[Tensor], start: State, noise: Tensor) -> Tensor:
    """Minus the mean over all steps and trajectories of what is still to come, under given actions."""
    state, rewards = start, []
    for action, noise_s in zip(actions, noise, strict=True):
        state = algorithm.world_model.rssm.imagine_step(state, action, noise_s)
        rewards.append(algorithm.world_model.reward(state.feat))
    total = torch.zeros((), dtype=rewards[0].dtype)
    for i in range(len(rewards)):
        for k in range(i, len(rewards)):
            total = total + (GAMMA ** (k - i) * rewards[k]).mean()
    return -total / len(rewards)


def follow(algorithm: NoValue, start: State, noise: Noise) -> tuple[list[Tensor], list[Tensor]]:
    """Actions of the actor, and the features at which it chose them."""
    state, actions, features = start, [], []
    for noise_a, noise_s in zip(noise["action"], noise["state"], strict=True):
        features.append(state.feat.detach())
        actions.append(algorithm.actor.sample(features[-1], noise_a))
        state = algorithm.world_model.rssm.imagine_step(state, actions[-1], noise_s)
    return actions, features


def test_loss_equals_loop() -> None:
    algorithm, data = small_no_value(), random_batch(STATE, 2, 3)
    noise = random_noise(algorithm, data)
    start = starts(algorithm, data, noise)
    actions, _ = follow(algorithm, start, noise)
    metrics, _ = trial_update(algorithm, data, noise)
    expected = by_loop(algorithm, actions, start, noise["state"]).detach()
    torch.testing.assert_close(metrics["actor/loss"], expected)
    assert not any(name.startswith("value") for name in metrics)


def test_start_at_an_end_counts_for_nothing() -> None:
    algorithm, data = small_no_value(pcont=True), random_batch(STATE, 2, 4)
    data["is_first"][0, 2] = True
    data["discount"][0, 1] = 0
    noise, losses = random_noise(algorithm, data), []
    for start in (None, 1, 0):
        other = {key: x.clone() for key, x in noise.items()}
        if start is not None:
            other["state"][:, start] += 7
        losses.append(copy.deepcopy(algorithm).update(data, other)["actor/loss"])
    torch.testing.assert_close(losses[1], losses[0])
    assert (losses[2] - losses[0]).abs() > 1e-3


def test_gradient_equals_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # heads and states keep their precision
    algorithm = small_no_value().double()
    data = {key: x.double() if x.is_floating_point() else x for key, x in random_batch(STATE, 2, 3).items()}
    noise = {key: x.double() for key, x in random_noise(algorithm, data).items()}
    _, gradients = trial_update(algorithm, data, noise)
    # The actor's gradient does not pass through what it reads: its features stay as they were.
    start = starts(algorithm, data, noise)
    _, features = follow(algorithm, start, noise)

    @torch.no_grad()
    def loss() -> float:
        pairs = zip(features, noise["action"], strict=True)
        actions = [algorithm.actor.sample(feat, noise_a) for feat, noise_a in pairs]
        return float(by_loop(algorithm, actions, start, noise["state"]))

    for weight, gradient in zip(algorithm.actor.parameters(), gradients["actor"], strict=True):
        flat, step = weight.data.view(-1), 1e-6
        for index in range(0, flat.numel(), 7):
            before = flat[index].item()
            flat[index] = before + step
            above = loss()
            flat[index] = before - step
            below = loss()
            flat[index] = before
            assert gradient.view(-1)[index].item() == pytest.approx((above - below) / (2 * step), abs=1e-7)
