"""The agent: who is moved by what, updates that are left out, acting."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.policy_state import PolicyState
from dreamer.config import Config, with_options
from dreamer.envs.spec import ActionSpec, EnvSpec
from dreamer.world_model.state import State
from world_model.small import SIZES, SPEC, batch

NETWORKS = ("model", "value", "actor")


def agent(spec: EnvSpec = SPEC, **options: Any) -> Dreamer:
    fixed = {"device": "cpu", "precision": "float32", "horizon": 4}
    return Dreamer(spec, with_options(Config(), SIZES | fixed | options))


def weights(dreamer: Dreamer) -> dict[str, Tensor]:
    """All weights of each network, as one vector."""
    modules = (dreamer.world_model, dreamer.behavior.value, dreamer.behavior.actor)
    return {
        name: torch.cat([p.detach().flatten().clone() for p in module.parameters()])
        for name, module in zip(NETWORKS, modules, strict=True)
    }


def moved(dreamer: Dreamer, before: dict[str, Tensor]) -> list[str]:
    after = weights(dreamer)
    return [name for name in NETWORKS if not torch.equal(before[name], after[name])]


@pytest.mark.parametrize("pcont", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_loss_moves_its_own_network_only(
    name: str, pcont: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dreamer = agent(pcont=pcont)
    before = weights(dreamer)
    for other in set(NETWORKS) - {name}:
        monkeypatch.setattr(dreamer.optimizers[other], "apply", lambda *_: None)
    dreamer.update(batch())
    assert moved(dreamer, before) == [name]
    assert all(p.grad is None for p in (*dreamer.world_model.parameters(), *dreamer.behavior.parameters()))


def test_the_model_learns_nothing_from_behaviour() -> None:
    with_behavior, without = agent(), agent()
    with_behavior.update(batch())
    without.update(batch(), "model")
    assert torch.equal(weights(with_behavior)["model"], weights(without)["model"])
    assert moved(without, weights(agent())) == ["model"]


def test_the_actor_may_wait_for_the_value_model() -> None:
    whole, waiting = agent(), agent()
    whole.update(batch())
    metrics = waiting.update(batch(), "model and value")
    assert moved(waiting, weights(whole)) == ["actor"]
    assert moved(waiting, weights(agent())) == ["model", "value"]
    assert {"actor/loss", "value/loss"} <= metrics.keys()


def test_an_update_reports_every_loss_and_norm() -> None:
    metrics = agent().update(batch())
    for name in NETWORKS:
        assert metrics[f"{name}/loss"].isfinite()
        assert metrics[f"{name}/grad_norm"] > 0
    assert not any(value.requires_grad for value in metrics.values())


def test_a_batch_is_overfitted() -> None:
    dreamer, data = agent(model_lr=5e-3, cnn_depth=8, units=32, deter=32, free_nats=0.1), batch()
    data["image"] = data["image"][:, :1, :1, :1].expand(*data["image"].shape).contiguous()
    constant = 0.5 * np.log(2 * np.pi) * 32 * 32 * 3
    errors = [float(dreamer.update(data)["model/image_loss"]) - constant for _ in range(120)]
    assert errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("poison", ["reward", "model", "value", "actor"])
def test_an_update_that_is_not_finite_changes_nothing(poison: str) -> None:
    dreamer, data = agent(), batch()
    dreamer.update(data)
    if poison == "reward":
        data["reward"][0, 0] = torch.nan
    else:  # one gradient alone
        whole = dreamer.optimizers[poison].gradients
        dreamer.optimizers[poison].gradients = lambda *a, **k: tuple(
            torch.full_like(g, torch.inf) for g in whole(*a, **k)
        )
    before, states = weights(dreamer), [str(o.state_dict()) for o in dreamer.optimizers.values()]
    metrics = dreamer.update(data)
    assert moved(dreamer, before) == []
    assert [str(o.state_dict()) for o in dreamer.optimizers.values()] == states
    assert metrics["skipped"] == 1
    assert not all(value.isfinite() for value in metrics.values())
    if poison != "reward":
        assert [name for name in NETWORKS if not metrics[f"{name}/grad_norm"].isfinite()] == [poison]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    one = weights(agent(seed=3))
    torch.randn(5)
    assert moved(agent(seed=3), one) == []
    assert moved(agent(seed=4), one) == list(NETWORKS)


def test_everything_comes_back() -> None:
    one, other = agent(), agent(seed=1)
    one.update(batch())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for dreamer in (one, other):
        dreamer.update(batch(seed=1))
    assert moved(other, weights(one)) == []


def _observation(n: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)}


def test_acting_is_the_filter() -> None:
    dreamer, obs = agent(), _observation(3)
    _, state = dreamer.policy(obs, dreamer.initial_state(3), True, torch.Generator().manual_seed(0))
    noise = torch.randn(3, SIZES["stoch"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embed = dreamer.world_model.encoder({"image": torch.as_tensor(obs["image"])})[:, None]
        posterior, _ = dreamer.world_model.rssm.observe(embed, torch.zeros(3, 1, 2), noise[:, None])
    torch.testing.assert_close(state.latent.feat, posterior.feat[:, 0])


def test_the_memory_holds_the_action_that_was_taken() -> None:
    dreamer = agent()
    rng = torch.Generator().manual_seed(0)
    action, state = dreamer.policy(_observation(2), dreamer.initial_state(2), True, rng)
    assert np.array_equal(state.action.numpy(), action)
    assert np.abs(action).max() <= 1
    assert action.dtype == np.float32


def test_exploration_adds_noise_of_the_size_asked_for() -> None:
    action, noise = torch.zeros(1000, 2), torch.randn(1000, 2)
    torch.testing.assert_close(agent(expl_noise=0.1).explore(action, noise), 0.1 * noise)
    assert agent().explore(torch.ones(1, 1), torch.ones(1, 1)) == 1


def test_evaluation_takes_the_same_action_whatever_the_noise_added() -> None:
    obs = _observation(1)
    actions = []
    for noise in (0.0, 5.0):
        dreamer = agent(expl_noise=noise)
        rng = torch.Generator().manual_seed(0)
        actions.append(dreamer.policy(obs, dreamer.initial_state(1), False, rng)[0])
    assert np.array_equal(*actions)


@pytest.mark.parametrize("groups", [(), (4,), (2, 2)])
def test_all_action_spaces_are_learned_from(groups: tuple[int, ...]) -> None:
    spec = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(4, groups))
    dreamer = agent(spec, pcont=True)
    assert all(value.isfinite() for value in dreamer.update(batch(spec)).values())
    obs = {**_observation(2), "state": np.zeros((2, 3), np.float32)}
    action, _ = dreamer.policy(obs, dreamer.initial_state(2), True, torch.Generator().manual_seed(0))
    assert action.shape == (2, 4)


def test_a_reset_forgets_one_environment() -> None:
    state = PolicyState(State(*(torch.randn(3, n) for n in (2, 2, 2, 4))), torch.randn(3, 2))
    fresh = state.reset(1)
    for before, after in zip(state.tensors(), fresh.tensors(), strict=True):
        assert not after[1].any()
        assert torch.equal(before[::2], after[::2])
    again = PolicyState.of(state.tensors(), torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(again.tensors(), state.tensors(), strict=True))
