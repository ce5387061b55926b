"""An update as a CUDA graph: the same weights as the plain one, update by update."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.agents import make
from dreamer.agents.agent import Agent
from dreamer.fast import cuda_graph
from dreamer.fast.cuda_graph import CudaGraph, GraphedAgent
from dreamer.types import Batch, Metrics, Phase
from helpers import IMAGE, learner, moved, random_batch, small_agent, small_config, weights

PHASES: list[Phase] = ["model", "model and value", "all"]
MODES: list[Phase] = [phase for phase in PHASES for _ in range(6)]
"""The phase of each update; each lasts longer than its warm-up."""


class Recorded(CudaGraph):
    """What a graph does, without one: all replays are updates on the buffers of the first."""

    def __init__(self, agent: Any, batch: Batch, phase: Phase):
        self.batch = {key: tensor.clone() for key, tensor in batch.items()}
        self.agent: Agent = agent
        self.phase: Phase = phase
        self.graph = self  # type: ignore[assignment]

    @staticmethod
    def warm_up(agent: Any, batch: Batch, phase: Phase) -> Metrics:
        return Agent.update(agent, batch, phase)

    def replay(self, batch: "Batch | None" = None) -> Metrics:  # type: ignore[override]
        if batch is not None:
            return super().replay(batch)
        self.metrics = Agent.update(self.agent, self.batch, self.phase)
        return self.metrics


def graphed_agent() -> GraphedAgent:
    agent = GraphedAgent(small_agent(fast=True).algorithm, small_config())
    agent.graph = Recorded
    return agent


def test_each_call_is_one_update_on_its_own_batch() -> None:
    plain, recorded = small_agent(fast=True), graphed_agent()
    for number, phase in enumerate(MODES):
        metrics = plain.update(random_batch(seed=number), phase)
        again = recorded.update(random_batch(seed=number), phase)
        assert metrics.keys() == again.keys()
        assert all(torch.equal(metrics[key], again[key]) for key in metrics)
    assert moved(recorded.algorithm, weights(plain.algorithm)) == set()
    assert len(recorded.recorded) == 3


def test_warm_up_ends_before_the_first_replay_and_only_where_there_is_one() -> None:
    graphed, agent = graphed_agent(), small_agent()
    cuda_graph.warm_up(graphed, random_batch())
    assert len(graphed.recorded) == 1
    before = weights(agent.algorithm)
    cuda_graph.warm_up(agent, random_batch())
    assert moved(agent.algorithm, before) == set()


def test_metrics_may_be_taken_out() -> None:
    agent = graphed_agent()
    for _ in range(cuda_graph.WARM_UP + 2):
        agent.update(random_batch()).pop("skipped")


@pytest.mark.parametrize(
    ("device", "fast", "kind"), [("cpu", True, Agent), ("cuda", False, Agent), ("cuda", True, GraphedAgent)]
)
def test_graph_is_for_a_gpu_that_is_to_be_fast(
    device: str, fast: bool, kind: type[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "pick_device", lambda _: torch.device(device))
    assert type(make.make_agent(IMAGE, small_config(fast=fast))) is kind


def gpu_agents() -> tuple[Agent, GraphedAgent]:
    """A plain and a graphed one, both with the quicker methods."""
    graphed = small_agent(device="cuda", fast=True)
    assert isinstance(graphed, GraphedAgent)
    plain = small_agent(device="cuda", fast=True)
    plain.__class__ = Agent
    return plain, graphed


def gpu_batch(seed: int = 0) -> Batch:
    return {key: x.cuda() for key, x in random_batch(seed=seed).items()}


def moments(agent: Agent) -> dict[str, Tensor]:
    """Adam's mean of the gradients of each network, as one vector."""
    states = {name: adam.m for name, adam in learner(agent).optimizers.optimizers.items()}
    return {name: torch.cat([each.flatten() for each in moment]).clone() for name, moment in states.items()}


def weights_of(agent: Agent) -> dict[str, Tensor]:
    return weights(agent.algorithm)


def furthest_apart(one: dict[str, Tensor], other: dict[str, Tensor], before: dict[str, Tensor]) -> float:
    """The largest distance between vectors of two agents, over the way that the first has gone since."""
    ways = {name: (vector - before[name]).norm() for name, vector in one.items()}
    assert all(torch.equal(other[name], before[name]) for name, way in ways.items() if not way)
    return max(float((one[name] - other[name]).norm() / way) for name, way in ways.items() if way)


@pytest.mark.gpu
@pytest.mark.parametrize("phase", PHASES)
def test_graph_takes_the_same_updates(phase: Phase) -> None:
    """In float32 with the same noise, so that kernels differ in rounding alone.

    The first replay begins at equal weights and shows no more than that. From then on Adam turns rounding of
    gradients near zero into whole steps, so weights are compared by the way that they have gone.
    """
    plain, recorded = gpu_agents()
    data = [gpu_batch(number) for number in range(8)]
    for number in range(cuda_graph.WARM_UP):
        plain.update(data[number], phase)
        recorded.update(data[number], phase)
    recorded.load_state_dict(copy.deepcopy(plain.state_dict()))
    gradients, start = moments(plain), weights_of(plain)
    metrics, again = (take(data[cuda_graph.WARM_UP], phase) for take in (plain.update, recorded.update))
    for key, value in metrics.items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert furthest_apart(moments(plain), moments(recorded), gradients) < 1e-3
    assert furthest_apart(weights_of(plain), weights_of(recorded), start) < 0.02
    for each in data[cuda_graph.WARM_UP + 1 :]:
        plain.update(each, phase)
        recorded.update(each, phase)
    assert furthest_apart(weights_of(plain), weights_of(recorded), start) < 0.1
    assert torch.equal(plain.generator.get_state(), recorded.generator.get_state())


@pytest.mark.gpu
def test_graph_leaves_out_what_is_not_finite() -> None:
    _, agent = gpu_agents()
    data = gpu_batch()
    for _ in range(cuda_graph.WARM_UP + 1):
        agent.update(data)
    before = weights_of(agent)
    poisoned = data | {"reward": data["reward"] * torch.nan}
    assert agent.update(poisoned)["skipped"] == 1
    assert all(torch.equal(before[name], value) for name, value in weights_of(agent).items())
    assert agent.update(data)["skipped"] == 0
    assert not all(torch.equal(before[name], value) for name, value in weights_of(agent).items())
