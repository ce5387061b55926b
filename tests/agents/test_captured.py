"""The captured update: the same weights as the plain one, update by update."""

from typing import Any

import pytest
import torch

from agents.test_dreamer import agent, weights
from dreamer.agents import captured
from dreamer.agents.agent import Learning
from dreamer.agents.captured import CapturedUpdate, CudaGraph, make_update
from dreamer.agents.dreamer import Dreamer
from dreamer.errors import UserError
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


def test_metrics_may_be_taken_out() -> None:
    update = CapturedUpdate(agent(), Recorded)
    for _ in range(captured.WARM_UP + 2):
        update(batch()).pop("skipped")


def test_only_a_gpu_captures() -> None:
    with pytest.raises(UserError, match="--update captured needs a CUDA GPU"):
        make_update(agent(), "captured")
    dreamer = agent()
    for path in ("auto", "eager"):
        assert "skipped" in make_update(dreamer, path)(batch(), "all")


@pytest.mark.gpu
def test_a_graph_takes_the_same_updates() -> None:
    """In float32, with the same noise; kernels may differ in rounding, which grows from update to update."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    plain, recorded = agent(device="cuda"), agent(device="cuda")
    update = make_update(recorded, "auto")
    assert isinstance(update, CapturedUpdate)
    for number, learning in enumerate(MODES):
        data = {key: tensor.cuda() for key, tensor in batch(seed=number).items()}
        metrics, again = plain.update(data, learning), update(data, learning)
        for key in metrics:
            torch.testing.assert_close(again[key], metrics[key], rtol=1e-3, atol=1e-4, msg=key)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(recorded)[name], value, rtol=1e-3, atol=1e-4)
    assert torch.equal(plain.generator.get_state().cpu(), recorded.generator.get_state().cpu())


@pytest.mark.gpu
def test_a_graph_leaves_out_what_is_not_finite() -> None:
    torch.use_deterministic_algorithms(False)
    dreamer = agent(device="cuda")
    update = make_update(dreamer, "captured")
    data = {key: tensor.cuda() for key, tensor in batch().items()}
    for _ in range(captured.WARM_UP + 1):
        update(data, "all")
    before = weights(dreamer)
    poisoned = data | {"reward": data["reward"] * torch.nan}
    assert update(poisoned, "all")["skipped"] == 1
    assert all(torch.equal(before[name], value) for name, value in weights(dreamer).items())
    assert update(data, "all")["skipped"] == 0
    assert not all(torch.equal(before[name], value) for name, value in weights(dreamer).items())
