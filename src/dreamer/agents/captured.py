"""A whole update as one CUDA graph: recorded once, then replayed with a single launch.

An update is thousands of small kernels, most of them in the loops over time, and on a GPU their launches take
longer than their arithmetic. The graph holds all of it: world model, dreams, three backward passes, clipping,
three optimisers. What it reads has fixed addresses, so each batch is copied into its buffers; its noise comes
from the agent's own generator, whose state every replay moves on.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dreamer.agents.agent import Agent, Learning, Metrics

Batch = dict[str, Tensor]
Update = Callable[[Batch, Learning], Metrics]

WARM_UP = 3
"""Updates taken one kernel at a time before recording, so that libraries have chosen theirs."""


def make_update(agent: Agent, fast: bool) -> Update:
    """Return what updates `agent`: where it learns on a GPU and is to be `fast`, a CUDA graph.

    A graph holds what one process does alone, so several processes that learn together have none.
    """
    if agent.device.type != "cuda":
        return agent.update
    # Every update has the same shapes: let cuDNN try out its kernels.
    torch.backends.cudnn.benchmark = True
    return CapturedUpdate(agent, CudaGraph) if fast and agent.ranks.size == 1 else agent.update


def get_ready(update: Update, batch: Batch) -> None:
    """Take the updates that come before the first replay, if there is to be one: each is an update."""
    if isinstance(update, CapturedUpdate):
        for _ in range(WARM_UP + 1):
            update(batch, "all")


class CudaGraph:
    """One update on buffers of its own, as a CUDA graph."""

    def __init__(self, agent: Any, batch: Batch, learning: Learning):
        self.batch = {key: tensor.clone() for key, tensor in batch.items()}
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(agent.generator)
        # Other threads may pin memory or act meanwhile; only what this one does is recorded.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.metrics = agent.update(self.batch, learning)

    @staticmethod
    def warm_up(agent: Any, batch: Batch, learning: Learning) -> Metrics:
        """An ordinary update on a stream of its own, as recording asks for."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            metrics = agent.update(batch, learning)
        current.wait_stream(stream)
        return metrics

    def replay(self, batch: Batch) -> Metrics:
        """Take the update on `batch`; the metrics are overwritten by the next replay."""
        for key, tensor in batch.items():
            self.batch[key].copy_(tensor, non_blocking=True)
        self.graph.replay()
        return dict(self.metrics)


class CapturedUpdate:
    """`update` of an agent, from the fourth call of a kind on by replay.

    Kinds differ in the networks that learn, and in shapes. Each call is exactly one update: recording
    itself changes nothing.
    """

    def __init__(self, agent: Agent, graph: type[CudaGraph]):
        self.agent, self.graph = agent, graph
        self.warmed: Counter[tuple] = Counter()
        self.recorded: dict[tuple, CudaGraph] = {}

    def __call__(self, batch: Batch, learning: Learning = "all") -> Metrics:
        """One gradient step on a batch `(B, L, ...)`; see `Agent.update`."""
        kind = (learning, *((key, *tensor.shape) for key, tensor in batch.items()))
        if self.warmed[kind] < WARM_UP:
            self.warmed[kind] += 1
            return self.graph.warm_up(self.agent, batch, learning)
        if kind not in self.recorded:
            self.recorded[kind] = self.graph(self.agent, batch, learning)
        return self.recorded[kind].replay(batch)
