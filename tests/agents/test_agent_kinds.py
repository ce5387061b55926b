"""Every agent: what it trains, how it explores, what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamer.agents.agent import Learning
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.no_value import NoValue
from dreamer.behavior import exploration
from dreamer.behavior.behavior import alive_starts, imagination_starts
from dreamer.behavior.exploration import epsilon_at, epsilon_greedy, random_action
from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.world_model.state import State

BOX = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))
BUTTONS = EnvSpec({}, {"state": 4}, ActionSpec(5, (3, 2)))
TINY = {
    "stoch": 4,
    "deter": 8,
    "hidden": 8,
    "units": 8,
    "cnn_depth": 2,
    "horizon": 4,
    "plan_horizon": 3,
    "plan_iterations": 2,
    "plan_candidates": 10,
    "plan_elites": 3,
    "device": "cpu",
    "precision": "float32",
}


def agent_of(spec: EnvSpec, **options: Any) -> ModelBasedAgent:
    agent = make_agent(spec, with_options(Config(), {**TINY, **options}))
    assert isinstance(agent, ModelBasedAgent)
    return agent


def random_batch(spec: EnvSpec, batch: int = 2, time: int = 6) -> dict[str, Tensor]:
    rows = {k: torch.randint(0, 256, (batch, time, *s), dtype=torch.uint8) for k, s in spec.images.items()}
    rows |= {key: torch.randn(batch, time, size) for key, size in spec.vectors.items()}
    actions = random_action(spec.action, batch * time, torch.Generator().manual_seed(0))
    rows |= {"action": actions.view(batch, time, -1), "reward": torch.randn(batch, time)}
    is_first = torch.zeros(batch, time, dtype=torch.bool)
    is_first[:, 0] = True
    return rows | {"discount": torch.ones(batch, time), "is_first": is_first}


def observation(spec: EnvSpec, n: int) -> dict[str, np.ndarray]:
    return {
        key: x[:, 0].numpy()
        for key, x in random_batch(spec, n, 1).items()
        if key in spec.images | spec.vectors
    }


def moved(agent: ModelBasedAgent, batch: dict[str, Tensor], learning: Learning = "all") -> set[str]:
    """The parts that one update changes."""
    modules = {"world_model": agent.world_model, "behavior": agent.behavior}
    named = {f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters()}
    before = {name: parameter.clone() for name, parameter in named.items()}
    agent.update(batch, learning)
    return {".".join(n.split(".")[:2]) for n, p in named.items() if not torch.equal(p, before[n])}


MODEL_PARTS = {"world_model.encoder", "world_model.rssm", "world_model.reward", "world_model.decoder"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("dreamer", {"behavior.actor", "behavior.value"}),
        ("no-value", {"behavior.actor"}),
        ("planet", set()),
    ],
)
def test_what_an_update_trains(name, parts) -> None:
    agent, batch = agent_of(BOX, agent=name), random_batch(BOX)
    assert moved(agent, batch, learning="model") == MODEL_PARTS
    assert moved(agent, batch) == MODEL_PARTS | parts


def test_contrastive_trains_its_diagnostic_decoder_too() -> None:
    agent = agent_of(BOX, objective="contrastive")
    everything = MODEL_PARTS | {"world_model.state_model", "behavior.actor", "behavior.value"}
    assert moved(agent, random_batch(BOX)) == everything
    assert agent.predicts


@pytest.mark.parametrize("objective", ["contrastive", "reward-only"])
def test_nothing_else_depends_on_the_diagnostic_decoder(objective) -> None:
    looked_at = agent_of(BOX, objective=objective)
    unseen = agent_of(BOX, objective=objective, video_every=0)
    unseen.world_model.load_state_dict(looked_at.world_model.state_dict(), strict=False)
    unseen.behavior.load_state_dict(looked_at.behavior.state_dict())
    batch = random_batch(BOX)
    for _ in range(3):
        looked_at.update(batch)
        unseen.update(batch)
    for name, parameter in unseen.world_model.named_parameters():
        assert torch.equal(parameter, looked_at.world_model.get_parameter(name)), name
    assert not unseen.predicts


@pytest.mark.parametrize("name", ["dreamer", "no-value", "planet"])
def test_saved_and_loaded_agents_act_alike(name) -> None:
    agent, other = agent_of(BOX, agent=name), agent_of(BOX, agent=name, seed=1)
    agent.update(random_batch(BOX))
    other.load_state_dict(agent.state_dict())
    obs = observation(BOX, 3)
    for explore in (True, False):
        actions = [
            a.policy(obs, a.initial_state(3), explore, torch.Generator().manual_seed(0))[0]
            for a in (agent, other)
        ]
        assert np.array_equal(actions[0], actions[1])
        assert actions[0].shape == (3, 2)
        assert np.abs(actions[0]).max() <= 1


def three_decisions(agent: ModelBasedAgent) -> np.ndarray:
    """Explored actions `(3, 8, A)` in eight environments, with the same noise each time."""
    generator, state, taken = torch.Generator().manual_seed(0), agent.initial_state(8), []
    torch.manual_seed(0)
    obs = observation(agent.spec, 8)
    for _ in range(3):
        action, state = agent.policy(obs, state, True, generator)
        taken.append(action)
    return np.stack(taken)


@pytest.mark.parametrize(
    ("name", "spec"), [("dreamer", BOX), ("dreamer", BUTTONS), ("no-value", BOX), ("planet", BOX)]
)
def test_a_copy_acts_as_its_original_did_whatever_that_learns_later(name, spec, monkeypatch) -> None:
    monkeypatch.setattr(exploration, "EPSILON_STEPS", 12)
    quick = {"model_lr": 0.05, "actor_lr": 0.1}
    agent, copy = agent_of(spec, agent=name, **quick), agent_of(spec, agent=name, **quick, seed=1)
    batch = random_batch(spec)
    for _ in range(2):  # The second copy overwrites the first.
        agent.update(batch)
        then = three_decisions(agent)
        copy.load_acting_state(agent.acting_state())
        for _ in range(4):
            agent.update(batch)
        assert not np.array_equal(three_decisions(agent), then)
        assert np.array_equal(three_decisions(copy), then)


def test_a_copy_keeps_no_casts_of_earlier_weights() -> None:
    """Autocast remembers weights that learn until the outermost one ends; the collector is always in one."""
    settings = {"agent": "planet", "precision": "bfloat16"}
    originals = [agent_of(BOX, **settings, seed=seed) for seed in (1, 2)]
    expected = [three_decisions(original) for original in originals]
    copy = agent_of(BOX, **settings)
    torch.autocast_increment_nesting()
    try:
        for original, actions in zip(originals, expected, strict=True):
            copy.load_acting_state(original.acting_state())
            assert np.array_equal(three_decisions(copy), actions)
    finally:
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()


def test_planet_plans_without_noise_in_evaluation() -> None:
    agent, obs = agent_of(BOX, agent="planet", plan_candidates=400, plan_iterations=6), observation(BOX, 2)
    state = agent.initial_state(2)
    plans = [agent.policy(obs, state, e, torch.Generator().manual_seed(3))[0] for e in (False, True)]
    difference = plans[1] - plans[0]
    assert 0 < np.abs(difference).max() < 1.5


def test_planet_refuses_discrete_actions() -> None:
    with pytest.raises(UserError, match=r"planet.*continuous.*no-value"):
        agent_of(BUTTONS, agent="planet")


@pytest.mark.parametrize("spec", [BOX, BUTTONS], ids=["box", "buttons"])
def test_random_agent(spec) -> None:
    agent = make_agent(spec, with_options(Config(), {"agent": "random"}))
    assert not agent.learns
    assert agent.update(random_batch(spec)) == {}
    obs, generator = observation(spec, 500), torch.Generator().manual_seed(0)
    action, state = agent.policy(obs, agent.initial_state(500), False, generator)
    assert action.shape == (500, spec.action.size)
    assert action.dtype == np.float32
    expected = [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2] if spec.action.discrete else [0, 0]
    assert action.mean(0) == pytest.approx(expected, abs=0.1)
    assert np.array_equal(state.action.numpy(), action)
    with pytest.raises(UserError, match="no world model"):
        agent.open_loop({}, 1, generator)


# -- discrete actions ---------------------------------------------------------------------------------------


def test_epsilon_falls_linearly_over_updates() -> None:
    steps = {0: 0.4, 50_000: 0.325, 100_000: 0.25, 200_000: 0.1, 900_000: 0.1}
    for step, expected in steps.items():
        assert epsilon_at(step) == pytest.approx(expected)


def test_epsilon_greedy_replaces_whole_actions() -> None:
    action, random = torch.zeros(4, 5), torch.ones(4, 5)
    mixed = epsilon_greedy(action, random, torch.tensor([0.05, 0.2, 0.39, 0.41]), 0.4)
    assert mixed.sum(-1).tolist() == [5, 5, 5, 0]


def one_hots(action: np.ndarray) -> bool:
    ones = np.isin(action, [0, 1]).all()
    return bool(ones and (action[:, :3].sum(-1) == 1).all() and (action[:, 3:].sum(-1) == 1).all())


@pytest.mark.parametrize("name", ["dreamer", "no-value"])
def test_discrete_actions_are_explored_by_epsilon_and_remembered(name) -> None:
    agent = agent_of(BUTTONS, agent=name)
    agent.update(random_batch(BUTTONS))
    assert isinstance(agent, Dreamer | NoValue)
    with torch.no_grad():
        agent.behavior.actor.head.out.bias.add_(torch.tensor([50.0, 0, 0, 50, 0]))  # always the first button
    obs, state = observation(BUTTONS, 3000), agent.initial_state(3000)
    explored, after = agent.policy(obs, state, True, torch.Generator().manual_seed(0))
    assert one_hots(explored)
    assert np.array_equal(after.action.numpy(), explored)
    chosen = (explored[:, 0] == 1) & (explored[:, 3] == 1)
    assert 1 - chosen.mean() == pytest.approx(0.4 * (1 - 1 / 6), abs=0.03)
    evaluated, _ = agent.policy(obs, state, False, torch.Generator().manual_seed(0))
    assert one_hots(evaluated)
    assert evaluated[:, [0, 3]].all()


def test_discrete_actor_learns_which_button_pays() -> None:
    agent = agent_of(BUTTONS, units=32, deter=16, hidden=16, model_lr=3e-3, actor_lr=3e-3, value_lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        batch = random_batch(BUTTONS, 8, 8)
        batch["action"] = random_action(BUTTONS.action, 64, generator).view(8, 8, 5)
        batch["state"] = torch.cat([batch["action"][..., :3], batch["action"][..., 3:4]], -1)
        batch["reward"] = batch["action"][..., 1] + batch["action"][..., 4]  # second of three, second of two
        agent.update(batch)
    action, _ = agent.policy(observation(BUTTONS, 20), agent.initial_state(20), False, generator)
    assert action[:, 1].mean() > 0.8
    assert action[:, 4].mean() > 0.8


# -- episodes that end --------------------------------------------------------------------------------------


def test_a_terminal_state_inside_a_packed_row_starts_no_dream() -> None:
    is_first = torch.tensor([[1, 0, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    discount = torch.tensor([[1.0, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0]])  # ends: terminated, then time limit
    alive = alive_starts(discount, is_first, drop_last=True)
    assert alive.view(2, 5).tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]
    rows = torch.arange(12.0).view(2, 6, 1)
    starts = imagination_starts(State(rows, rows, rows, rows), drop_last=True)
    assert len(starts.stoch) == len(alive)
    assert starts.stoch[alive == 0].tolist() == [[2.0]]


def test_losses_do_not_depend_on_what_follows_an_end(monkeypatch) -> None:
    agent, batch = agent_of(BOX, pcont=True), random_batch(BOX)
    batch["is_first"][0, 3] = True
    batch["discount"][0, 2] = 0
    seen: dict[str, Any] = {}
    losses = agent.behavior_losses

    def watch(start: State, alive: Tensor | float) -> Any:
        seen.update(start=start, alive=alive)
        return losses(start, alive)

    monkeypatch.setattr(agent, "behavior_losses", watch)
    agent.update(batch)
    assert seen["alive"].tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    # A start that does not count may be anything.
    other = seen["start"].map(lambda x: torch.where(seen["alive"].unsqueeze(-1) > 0, x, x + 7))
    results = []
    for start in (seen["start"], other):
        agent.generator.manual_seed(0)
        results.append(losses(start, seen["alive"])[0])
    for name in ("actor", "value"):
        torch.testing.assert_close(results[0][name], results[1][name])
