"""The captured update: the same weights as the plain one, update by update."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.test_dreamer import agent, weights
from dreamer.agents import captured
from dreamer.agents.agent import Learning
from dreamer.agents.captured import CapturedUpdate, CudaGraph, make_update
from dreamer.agents.dreamer import Dreamer
from world_model.small import batch

PHASES: list[Learning] = ["model", "model and value", "all"]
MODES: list[Learning] = [phase for phase in PHASES for _ in range(6)]
"""What learns, by update; each kind longer than its warm-up."""


class Recorded(CudaGraph):
    """What a graph does, without one: all replays are updates on the buffers of the first."""

    def __init__(self, agent: Any, batch: captured.Batch, learning: Learning):
        self.batch = {key: tensor.clone() for key, tensor in batch.items()}
        self.agent, self.learning = agent, learning
        self.graph = self  # type: ignore[assignment]

    @staticmethod
    def warm_up(agent: Any, batch: captured.Batch, learning: Learning) -> captured.Metrics:
        return agent.update(batch, learning)

    def replay(self, batch: captured.Batch | None = None) -> captured.Metrics:  # type: ignore[override]
        if batch is not None:
            return super().replay(batch)
        self.metrics = self.agent.update(self.batch, self.learning)
        return self.metrics


def same_weights(one: Dreamer, other: Dreamer) -> bool:
    theirs = weights(other)
    return all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


def test_each_call_is_one_update_on_its_own_batch() -> None:
    plain, recorded = agent(), agent()
    update = CapturedUpdate(recorded, Recorded)
    for number, learning in enumerate(MODES):
        metrics = plain.update(batch(seed=number), learning)
        again = update(batch(seed=number), learning)
        assert metrics.keys() == again.keys()
        assert all(torch.equal(metrics[key], again[key]) for key in metrics)
    assert same_weights(plain, recorded)
    assert len(update.recorded) == 3


def test_getting_ready_ends_before_the_first_replay_alone() -> None:
    update = CapturedUpdate(agent(), Recorded)
    captured.get_ready(update, batch())
    assert len(update.recorded) == 1
    dreamer = agent()
    before = weights(dreamer)
    captured.get_ready(dreamer.update, batch())
    assert all(torch.equal(value, before[name]) for name, value in weights(dreamer).items())


def test_metrics_may_be_taken_out() -> None:
    update = CapturedUpdate(agent(), Recorded)
    for _ in range(captured.WARM_UP + 2):
        update(batch()).pop("skipped")


@pytest.mark.parametrize("fast", [True, False])
def test_only_a_gpu_captures(fast: bool) -> None:
    dreamer = agent()
    assert make_update(dreamer, fast) == dreamer.update


def moments(dreamer: Dreamer) -> dict[str, Tensor]:
    """Adam's mean of the gradients of each network, as one vector."""
    states = {name: optimizer.state_dict()["exp_avg"] for name, optimizer in dreamer.optimizers.items()}
    return {name: torch.cat([each.flatten() for each in moment]).clone() for name, moment in states.items()}


def furthest_apart(one: dict[str, Tensor], other: dict[str, Tensor], before: dict[str, Tensor]) -> float:
    """The largest distance between vectors of two agents, over the way that the first has gone since."""
    ways = {name: (vector - before[name]).norm() for name, vector in one.items()}
    assert all(torch.equal(other[name], before[name]) for name, way in ways.items() if not way)
    return max(float((one[name] - other[name]).norm() / way) for name, way in ways.items() if way)


@pytest.mark.gpu
@pytest.mark.parametrize("learning", PHASES)
def test_a_graph_takes_the_same_updates(learning: Learning) -> None:
    """In float32 with the same noise, so that kernels differ in rounding alone.

    The first replay begins at equal weights and shows no more than that. From then on Adam turns rounding of
    gradients near zero into whole steps, so weights are compared by the way that they have gone.
    """
    plain, recorded = agent(device="cuda"), agent(device="cuda")
    update = make_update(recorded, fast=True)
    assert isinstance(update, CapturedUpdate)
    data = [{key: x.cuda() for key, x in batch(seed=number).items()} for number in range(8)]
    for number in range(captured.WARM_UP):
        plain.update(data[number], learning)
        update(data[number], learning)
    recorded.load_state_dict(copy.deepcopy(plain.state_dict()))
    gradients, start = moments(plain), weights(plain)
    metrics, again = (take(data[captured.WARM_UP], learning) for take in (plain.update, update))
    for key, value in metrics.items():
        torch.testing.assert_close(again[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert furthest_apart(moments(plain), moments(recorded), gradients) < 1e-3
    assert furthest_apart(weights(plain), weights(recorded), start) < 0.02
    for each in data[captured.WARM_UP + 1 :]:
        plain.update(each, learning)
        update(each, learning)
    assert furthest_apart(weights(plain), weights(recorded), start) < 0.1
    assert torch.equal(plain.generator.get_state(), recorded.generator.get_state())


@pytest.mark.gpu
def test_a_graph_leaves_out_what_is_not_finite() -> None:
    dreamer = agent(device="cuda")
    update = make_update(dreamer, fast=True)
    data = {key: tensor.cuda() for key, tensor in batch().items()}
    for _ in range(captured.WARM_UP + 1):
        update(data, "all")
    before = weights(dreamer)
    poisoned = data | {"reward": data["reward"] * torch.nan}
    assert update(poisoned, "all")["skipped"] == 1
    assert all(torch.equal(before[name], value) for name, value in weights(dreamer).items())
    assert update(data, "all")["skipped"] == 0
    assert not all(torch.equal(before[name], value) for name, value in weights(dreamer).items())
