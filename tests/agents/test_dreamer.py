"""Dreamer: which update moves what, and which updates are left out."""

import copy

import numpy as np
import pytest
import torch

from dreamer.types import ActionSpec, EnvSpec
from helpers import IMAGE, moved, random_batch, random_noise, small_agent, small_dreamer, weights

NETWORKS = ("world_model", "value", "actor")
FAST = pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])


def optimizer_name(network: str) -> str:
    return {"world_model": "model"}.get(network, network)


@FAST
@pytest.mark.parametrize("pcont", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_loss_moves_its_own_network_only(network: str, pcont: bool, fast: bool, monkeypatch) -> None:
    dreamer = small_dreamer(pcont=pcont, fast=fast)
    before, data = weights(dreamer), random_batch()
    for other in set(NETWORKS) - {network}:
        monkeypatch.setattr(dreamer.optimizers.optimizers[optimizer_name(other)], "step", lambda *_: None)
    dreamer.update(data, random_noise(dreamer, data))
    assert moved(dreamer, before) == {network}
    assert all(parameter.grad is None for parameter in dreamer.parameters())


def test_world_model_learns_nothing_from_behavior() -> None:
    with_behavior, without = small_dreamer(), small_dreamer()
    data = random_batch()
    noise = random_noise(without, data)
    with_behavior.update(data, noise)
    without.update(data, noise, "model")
    assert moved(without, weights(with_behavior)) == {"value", "actor"}
    assert moved(without, weights(small_dreamer())) == {"world_model"}


def test_actor_waits_while_the_value_model_learns() -> None:
    whole, waiting, data = small_dreamer(), small_dreamer(), random_batch()
    noise = random_noise(whole, data)
    whole.update(data, noise)
    metrics = waiting.update(data, noise, "model and value")
    assert moved(waiting, weights(whole)) == {"actor"}
    assert moved(waiting, weights(small_dreamer())) == {"world_model", "value"}
    assert {"actor/loss", "value/loss"} <= metrics.keys()
    assert "actor/grad_norm" not in metrics


@FAST
def test_metrics_have_every_loss_and_norm(fast: bool) -> None:
    agent = small_agent(fast=fast)
    metrics = agent.update(random_batch())
    for name in ("model", "actor", "value"):
        assert metrics[f"{name}/loss"].isfinite()
        assert metrics[f"{name}/grad_norm"] > 0
    assert not any(value.requires_grad for value in metrics.values())


@FAST
def test_batch_is_overfitted(fast: bool) -> None:
    sizes = {"cnn_depth": 8, "units": 32, "deter": 32}
    agent, data = small_agent(model_lr=5e-3, free_nats=0.1, fast=fast, **sizes), random_batch()
    data["image"] = data["image"][:, :1, :1, :1].expand(*data["image"].shape).contiguous()
    constant = 0.5 * np.log(2 * np.pi) * 32 * 32 * 3
    errors = [float(agent.update(data)["model/image_loss"]) - constant for _ in range(120)]
    assert errors[-1] < 0.2 * errors[0]


@FAST
@pytest.mark.parametrize("poison", ["reward", *NETWORKS])
def test_update_that_is_not_finite_changes_nothing(poison: str, fast: bool) -> None:
    dreamer, data = small_dreamer(fast=fast), random_batch()
    noise = random_noise(dreamer, data)
    dreamer.update(data, noise)
    if poison == "reward":
        data["reward"][0, 0] = torch.nan
    else:  # one gradient alone
        parameter = next(getattr(dreamer, poison).parameters())
        parameter.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    before, states = weights(dreamer), copy.deepcopy(dreamer.optimizers.state_dict())
    metrics = dreamer.update(data, noise)
    assert moved(dreamer, before) == set()
    assert str(dreamer.optimizers.state_dict()) == str(states)
    assert metrics["skipped"] == 1
    assert not all(value.isfinite() for value in metrics.values())
    if poison != "reward":
        norms = {name: metrics[f"{optimizer_name(name)}/grad_norm"] for name in NETWORKS}
        assert [name for name, norm in norms.items() if not norm.isfinite()] == [poison]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    one = weights(small_dreamer(seed=3))
    torch.randn(5)
    assert moved(small_dreamer(seed=3), one) == set()
    assert moved(small_dreamer(seed=4), one) == set(NETWORKS)


@pytest.mark.parametrize("groups", [(), (4,), (2, 2)])
def test_all_action_spaces_are_learned_from(groups: tuple[int, ...]) -> None:
    spec = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(4, groups))
    metrics = small_agent(spec, pcont=True).update(random_batch(spec))
    assert all(value.isfinite() for value in metrics.values())


def test_loss_of_behavior_does_not_depend_on_what_follows_an_end() -> None:
    dreamer, data = small_dreamer(IMAGE, pcont=True), random_batch()
    data["is_first"][0, 3] = True
    data["discount"][0, 2] = 0
    noise = random_noise(dreamer, data)
    other = {key: x.clone() for key, x in noise.items()}
    other["state"][:, 2] += 7  # the trajectory from step 2 of row 0
    elsewhere = {key: x.clone() for key, x in noise.items()}
    elsewhere["state"][:, 1] += 7
    losses = []
    for each in (noise, other, elsewhere):
        metrics = copy.deepcopy(dreamer).update(data, each)
        losses.append(torch.stack([metrics["actor/loss"], metrics["value/loss"]]))
    torch.testing.assert_close(losses[1], losses[0])
    assert ((losses[2] - losses[0]).abs() > 1e-3).all()
