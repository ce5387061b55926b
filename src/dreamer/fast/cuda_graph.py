"""A whole update as one CUDA graph: recorded once, then replayed with a single launch.

An update is thousands of small kernels, most of them in the loops over time, and on a GPU their launches take longer
than their arithmetic. The graph holds all of it: world model, imagination, all backward passes, clipping, all
optimizers. What it reads has fixed addresses, so each batch is copied into its buffers; its noise comes from the
agent's own generator, whose state every replay moves on.

Graphs are standard practice for networks of this size. What this one gains has not been measured on a GPU yet.
"""

from collections import Counter
from collections.abc import Callable

import torch

from dreamer.agents.agent import Agent
from dreamer.types import Batch, Metrics, Phase

Update = Callable[[Batch, Phase], Metrics]

WARM_UP = 3
"""Updates taken one kernel at a time before recording, so that libraries have chosen theirs."""


def warm_up(update: Update, batch: Batch) -> None:
    """Take the updates that come before the first replay, if there is to be one. Each is an update."""
    if isinstance(update, GraphedUpdate):
        for _ in range(WARM_UP + 1):
            update(batch, "all")


class CudaGraph:
    """One update on buffers of its own, as a CUDA graph."""

    def __init__(self, agent: Agent, batch: Batch, phase: Phase):
        self.batch = {key: tensor.clone() for key, tensor in batch.items()}
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(agent.generator)
        # Other threads may pin memory or act meanwhile; only what this one does is recorded.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.metrics = agent.update(self.batch, phase)

    @staticmethod
    def warm_up(agent: Agent, batch: Batch, phase: Phase) -> Metrics:
        """Take an ordinary update on a stream of its own, as recording asks for."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            metrics = agent.update(batch, phase)
        current.wait_stream(stream)
        return metrics

    def replay(self, batch: Batch) -> Metrics:
        """Take the update on `batch`; the metrics are overwritten by the next replay."""
        for key, tensor in batch.items():
            self.batch[key].copy_(tensor, non_blocking=True)
        self.graph.replay()
        return dict(self.metrics)


class GraphedUpdate:
    """`update` of an agent, by replay from the fourth call of a kind on.

    Kinds differ in the phase and in shapes. Each call is exactly one update: recording itself changes nothing.
    """

    def __init__(self, agent: Agent, graph: type[CudaGraph]):
        self.agent, self.graph = agent, graph
        self.warmed: Counter[tuple] = Counter()
        self.recorded: dict[tuple, CudaGraph] = {}

    def __call__(self, batch: Batch, phase: Phase = "all") -> Metrics:
        """One gradient step on a batch `(B, T, ...)`; see `Agent.update`."""
        kind = (phase, *((key, *tensor.shape) for key, tensor in batch.items()))
        if self.warmed[kind] < WARM_UP:
            self.warmed[kind] += 1
            return self.graph.warm_up(self.agent, batch, phase)
        if kind not in self.recorded:
            self.recorded[kind] = self.graph(self.agent, batch, phase)
        return self.recorded[kind].replay(batch)
