import pytest
import torch

from bench.small import config
from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.bench import gradient_step, networks
from dreamer.bench.figure import Stopwatch, Variant
from dreamer.bench.paths import PATHS, UpdatePath
from dreamer.bench.work import Roof
from dreamer.results.timing import random_batch
from dreamer.spec import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(2))
WATCH = Stopwatch(Variant("cpu", "float32"), Roof(1e12, 1e12), repeats=1)
WORLD = ["encoder", "observe", "decoder", "heads"]


@pytest.fixture(autouse=True)
def _one_call_each(monkeypatch):
    monkeypatch.setattr("dreamer.bench.figure.BUDGET", 0.0)


def agent_and_batch(**options):
    settings = config(**options)
    agent = make_agent(SPEC, settings)
    assert isinstance(agent, ModelBasedAgent)
    return agent, random_batch(SPEC, 2, 3, agent.device)


def names(figures):
    return [figure.name for figure in figures]


KINDS = {
    "dreamer": ({}, [*WORLD, "imagine", "imagined heads"], ["model", "value", "actor"]),
    "ends": ({"pcont": True}, [*WORLD, "imagine", "imagined heads"], ["model", "value", "actor"]),
    "no value": ({"agent": "no-value"}, [*WORLD, "imagine", "imagined heads"], ["model", "actor"]),
    "planet": ({"agent": "planet"}, WORLD, ["model"]),
    "contrast": (
        {"objective": "contrastive"},
        ["encoder", "observe", "decoder", "contrast", "heads", "imagine", "imagined heads"],
        ["model", "decoder", "value", "actor"],
    ),
}


@pytest.mark.parametrize(("options", "parts", "learners"), KINDS.values(), ids=KINDS.keys())
def test_every_agent_is_taken_apart(options, parts, learners):
    agent, batch = agent_and_batch(**options)
    found = list(networks.networks(WATCH, agent, batch))
    assert names(found) == [f"{part}: {way}" for part in parts for way in ("forward", "backward")]
    assert all(figure.flops > 0 and figure.floor and figure.median > 0 for figure in found)
    staged = names(gradient_step.stages(WATCH, agent, batch))
    assert [name.removesuffix(": backward") for name in staged if name.endswith(": backward")] == learners
    assert staged[0] == "model: losses"
    assert staged[-1] == "clipping and optimisers"


def test_the_stages_hold_all_the_products_of_a_step():
    agent, batch = agent_and_batch()
    total = gradient_step.total(WATCH, agent, PATHS[0], batch)
    assert sum(figure.flops for figure in gradient_step.stages(WATCH, agent, batch)) == total.flops


def test_the_networks_hold_nearly_all_the_products_of_a_step():
    agent, batch = agent_and_batch()
    total = gradient_step.total(WATCH, agent, PATHS[0], batch)
    alone = sum(figure.flops for figure in networks.networks(WATCH, agent, batch))
    assert alone == pytest.approx(total.flops, rel=0.05)


def test_the_products_of_a_step_at_the_papers_sizes_are_counted_by_hand(monkeypatch):
    """The dense layers of imagination: the actor forward, and every head; all others are in the parts."""
    monkeypatch.setattr("dreamer.behavior.no_value.ACTOR_LAYERS", 0)
    monkeypatch.setattr("dreamer.world_model.world_model.REWARD_LAYERS", 0)
    agent, batch = agent_and_batch(agent="no-value")
    found = {figure.name: figure for figure in networks.networks(WATCH, agent, batch)}
    rows, features = 2 * 3 * 2, 4 + 16  # batch, length and horizon; stoch and deter
    assert found["imagined heads: forward"].flops == 2 * rows * features
    dynamics = (4 + 2) * 16 + 2 * 16 * 48 + 16 * 16 + 16 * 8  # GRU's input layer, GRU, hidden, mean and std
    assert found["imagine: forward"].flops == 2 * rows * (features * 4 + dynamics)


def test_a_step_is_taken_by_the_path():
    taken = []
    agent, batch = agent_and_batch()
    path = UpdatePath("marked", lambda agent: lambda batch: taken.append(agent) or agent.update(batch))
    figure = gradient_step.total(WATCH, agent, path, batch)
    assert len(taken) == 1 + figure.count == 2  # the warm-up and the call that counts
    assert taken[0] is agent


def test_optimisers_move_weights():
    agent, batch = agent_and_batch()
    before = agent.world_model.reward.out.weight.clone()
    list(gradient_step.stages(WATCH, agent, batch))
    assert not torch.equal(before, agent.world_model.reward.out.weight)
