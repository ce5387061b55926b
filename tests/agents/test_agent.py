"""An agent of every kind: what it trains, how it acts, what of it is saved, what it refuses."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior import exploration
from dreamer.errors import UserError
from dreamer.types import Batch, EnvSpec, Phase
from dreamer.world_model.rssm import State
from helpers import (
    BUTTONS,
    IMAGE,
    KINDS,
    STATE,
    is_one_hot,
    learner,
    moved,
    random_batch,
    random_observation,
    small_agent,
    weights,
)

TRAINABLE = ("dreamer", "no-value", "planet")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- learning -----------------------------------------------------------------------------------------------


def trained_parts(agent: Agent, batch: Batch, phase: Phase = "all") -> set[str]:
    """The networks, and the parts of the world model, that one update changes."""
    algorithm = learner(agent)
    before = weights(algorithm), weights(algorithm.world_model)
    agent.update(batch, phase)
    return (moved(algorithm, before[0]) - {"world_model"}) | moved(algorithm.world_model, before[1])


MODEL_PARTS = {"encoder", "rssm", "reward", "decoder"}


@pytest.mark.parametrize(
    ("name", "parts"), [("dreamer", {"actor", "value"}), ("no-value", {"actor"}), ("planet", set())]
)
def test_update_trains_the_networks_of_the_agent(name: str, parts: set[str]) -> None:
    agent, batch = small_agent(agent=name), random_batch()
    assert trained_parts(agent, batch, "model") == MODEL_PARTS
    assert trained_parts(agent, batch, "model and value") == MODEL_PARTS | (parts - {"actor"})
    assert trained_parts(agent, batch) == MODEL_PARTS | parts


def test_contrastive_agent_trains_its_decoder_too() -> None:
    agent = small_agent(objective="contrastive")
    assert trained_parts(agent, random_batch()) == MODEL_PARTS | {"state_model", "actor", "value"}
    assert agent.has_decoder


@pytest.mark.parametrize("objective", ["contrastive", "reward-only"])
def test_decoder_for_videos_changes_nothing_else(objective: str) -> None:
    with_decoder = small_agent(objective=objective)
    without = small_agent(objective=objective, video_every=0)
    without.algorithm.load_state_dict(with_decoder.algorithm.state_dict(), strict=False)
    batch = random_batch()
    for _ in range(3):
        with_decoder.update(batch)
        without.update(batch)
    for name, parameter in without.algorithm.named_parameters():
        assert torch.equal(parameter, with_decoder.algorithm.get_parameter(name)), name
    assert not without.has_decoder
    with pytest.raises(UserError, match="no decoder"):
        without.open_loop(batch, 1, seeded())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_updates(kind: str) -> None:
    spec, options = KINDS[kind]
    agent, batch = small_agent(spec, **options), random_batch(spec)
    for phase in ("model", "model and value", "all"):
        metrics = agent.update(batch, phase)
        assert all(value.isfinite() for value in metrics.values())
        assert metrics["skipped"] == 0
    assert agent.acting_state()["grad_step"] == 3


def test_open_loop_draws_its_noise_from_the_generator() -> None:
    agent, batch = small_agent(), random_batch()
    shown = agent.open_loop(batch, 2, seeded())["image"]
    noise = torch.randn(3, 7, 3, generator=seeded())
    assert torch.equal(shown, learner(agent).world_model.open_loop(batch, 2, noise)["image"])


def test_discrete_actor_learns_which_button_pays() -> None:
    rates = {"model_lr": 3e-3, "actor_lr": 3e-3, "value_lr": 3e-3}
    agent = small_agent(BUTTONS, units=32, deter=16, hidden=16, stoch=4, **rates)
    for seed in range(150):
        batch = random_batch(BUTTONS, 8, 8, seed)
        batch["state"] = torch.cat([batch["action"][..., :3], batch["action"][..., 3:4]], -1)
        batch["reward"] = batch["action"][..., 1] + batch["action"][..., 4]  # second of three, second of two
        agent.update(batch)
    action, _ = agent.policy(random_observation(BUTTONS, 20), agent.initial_state(20), False, seeded())
    assert action[:, 1].mean() > 0.8
    assert action[:, 4].mean() > 0.8


# -- saving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINABLE)
def test_state_round_trip_goes_on_exactly(name: str) -> None:
    one, other = small_agent(agent=name), small_agent(agent=name, seed=1)
    one.update(random_batch())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for agent in (one, other):
        agent.update(random_batch(seed=1))
    assert moved(other.algorithm, weights(one.algorithm)) == set()


@pytest.mark.parametrize("name", TRAINABLE)
def test_loaded_agent_acts_as_the_saved_one(name: str) -> None:
    agent, other = small_agent(agent=name), small_agent(agent=name, seed=1)
    agent.update(random_batch())
    other.load_state_dict(agent.state_dict())
    obs = random_observation(IMAGE, 3)
    for explore in (True, False):
        actions = [a.policy(obs, a.initial_state(3), explore, seeded())[0] for a in (agent, other)]
        assert np.array_equal(actions[0], actions[1])
        assert actions[0].shape == (3, 2)
        assert np.abs(actions[0]).max() <= 1


def three_decisions(agent: Agent) -> np.ndarray:
    """Explored actions `(3, 8, A)` in eight environments, with the same noise each time."""
    generator, state, taken = seeded(), agent.initial_state(8), []
    obs = random_observation(agent.spec, 8)
    for _ in range(3):
        action, state = agent.policy(obs, state, True, generator)
        taken.append(action)
    return np.stack(taken)


@pytest.mark.parametrize(
    ("name", "spec"), [("dreamer", IMAGE), ("dreamer", BUTTONS), ("no-value", IMAGE), ("planet", IMAGE)]
)
def test_copy_acts_as_its_original_did_whatever_that_learns_later(
    name: str, spec: EnvSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, value in {"EPSILON": 0.9, "FINAL_EPSILON": 0.0, "EPSILON_UPDATES": 12}.items():
        monkeypatch.setattr(exploration, constant, value)
    quick = {"model_lr": 0.05, "actor_lr": 0.1, "agent": name}
    agent, copied = small_agent(spec, **quick), small_agent(spec, **quick, seed=1)
    batch = random_batch(spec)
    for _ in range(2):  # The second copy overwrites the first.
        agent.update(batch)
        then = three_decisions(agent)
        copied.load_acting_state(agent.acting_state())
        for _ in range(4):
            agent.update(batch)
        assert not np.array_equal(three_decisions(agent), then)
        assert np.array_equal(three_decisions(copied), then)


def test_copy_keeps_no_casts_of_earlier_weights() -> None:
    """Autocast keeps casts of trained weights until the outermost one ends, and a collector may be in one."""
    settings = {"agent": "planet", "precision": "bfloat16"}
    originals = [small_agent(**settings, seed=seed) for seed in (1, 2)]
    expected = [three_decisions(original) for original in originals]
    copied = small_agent(**settings)
    torch.autocast_increment_nesting()
    try:
        for original, actions in zip(originals, expected, strict=True):
            copied.load_acting_state(original.acting_state())
            assert np.array_equal(three_decisions(copied), actions)
    finally:
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()


# -- acting -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_acting_filters_its_observations() -> None:
    agent, obs = small_agent(), random_observation(IMAGE, 3)
    _, state = agent.policy(obs, agent.initial_state(3), True, seeded())
    noise = torch.randn(3, 3, generator=seeded())
    model = learner(agent).world_model
    embed = model.encoder({"image": torch.as_tensor(obs["image"])})[:, None]
    begins = torch.ones(3, 1, dtype=torch.bool)
    posterior, _ = model.rssm.observe(embed, torch.zeros(3, 1, 2), begins, noise[:, None])
    torch.testing.assert_close(state.latent.feat, posterior.feat[:, 0])


@pytest.mark.parametrize("name", TRAINABLE)
def test_policy_state_holds_the_action_that_was_taken(name: str) -> None:
    agent = small_agent(agent=name)
    action, state = agent.policy(random_observation(IMAGE, 2), agent.initial_state(2), True, seeded())
    assert np.array_equal(state.action.numpy(), action)
    assert np.abs(action).max() <= 1
    assert action.dtype == np.float32


@pytest.mark.parametrize("name", TRAINABLE)
def test_exploration_noise_is_left_out_of_evaluation(name: str) -> None:
    obs, actions = random_observation(IMAGE, 1), {}
    for noise in (0.0, 5.0):
        agent = small_agent(agent=name, expl_noise=noise)
        for explore in (False, True):
            actions[explore, noise] = agent.policy(obs, agent.initial_state(1), explore, seeded())[0]
    assert np.array_equal(actions[False, 0.0], actions[False, 5.0])
    assert not np.array_equal(actions[True, 0.0], actions[True, 5.0])


@pytest.mark.parametrize("name", ["dreamer", "no-value"])
def test_discrete_actions_are_explored_by_epsilon_and_remembered(name: str) -> None:
    agent = small_agent(BUTTONS, agent=name)
    agent.update(random_batch(BUTTONS))
    algorithm: Any = agent.algorithm
    with torch.no_grad():
        algorithm.actor.mlp.out.bias.add_(torch.tensor([50.0, 0, 0, 50, 0]))  # always the first button
    obs, state = random_observation(BUTTONS, 3000), agent.initial_state(3000)
    explored, after = agent.policy(obs, state, True, seeded())
    assert is_one_hot(explored, (3, 2))
    assert np.array_equal(after.action.numpy(), explored)
    chosen = (explored[:, 0] == 1) & (explored[:, 3] == 1)
    assert 1 - chosen.mean() == pytest.approx(0.4 * (1 - 1 / 6), abs=0.03)
    evaluated, _ = agent.policy(obs, state, False, seeded())
    assert is_one_hot(evaluated, (3, 2))
    assert evaluated[:, [0, 3]].all()


def test_reset_forgets_one_environment() -> None:
    state = PolicyState(State(*(torch.randn(3, n) for n in (2, 2, 2, 4))), torch.randn(3, 2))
    fresh = state.reset(1)
    for before, after in zip(state.tensors(), fresh.tensors(), strict=True):
        assert not after[1].any()
        assert torch.equal(before[::2], after[::2])
    again = fresh.with_tensors(state.tensors())
    assert all(torch.equal(a, b) for a, b in zip(again.tensors(), state.tensors(), strict=True))


# -- PlaNet and the random agent ----------------------------------------------------------------------------


def test_planet_plans_without_noise_in_evaluation() -> None:
    agent = small_agent(agent="planet", plan_candidates=400, plan_iterations=6, plan_elites=40)
    obs, state = random_observation(IMAGE, 2), agent.initial_state(2)
    plans = [agent.policy(obs, state, explore, seeded(3))[0] for explore in (False, True)]
    difference = plans[1] - plans[0]
    assert 0 < np.abs(difference).max() < 1.5


def test_planet_refuses_discrete_actions() -> None:
    with pytest.raises(UserError, match=r"planet.*continuous.*no-value"):
        small_agent(BUTTONS, agent="planet")


@pytest.mark.parametrize("spec", [STATE, BUTTONS], ids=["box", "buttons"])
def test_random_agent_acts_uniformly_and_learns_nothing(spec: EnvSpec) -> None:
    agent = small_agent(spec, agent="random")
    assert not agent.trainable
    assert not agent.has_decoder
    assert agent.state_dict() == {}
    agent.load_state_dict({})
    action, state = agent.policy(random_observation(spec, 500), agent.initial_state(500), False, seeded())
    assert action.shape == (500, spec.action.size)
    assert action.dtype == np.float32
    expected = [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2] if spec.action.discrete else [0, 0]
    assert action.mean(0) == pytest.approx(expected, abs=0.1)
    assert np.array_equal(state.action.numpy(), action)
    again = small_agent(spec, agent="random")
    again.load_acting_state(agent.acting_state())
    with pytest.raises(UserError, match="no decoder"):
        agent.open_loop({}, 1, seeded())
