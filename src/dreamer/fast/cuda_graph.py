"""A whole update as one CUDA graph: recorded once, then replayed with a single launch.

An update is thousands of small kernels, most of them in the loops over time, and on a GPU it takes longer to launch
them than to compute them. The graph holds all of them: world model, imagination, all backward passes, clipping, all
optimizers. A graph reads from fixed addresses, so each batch is copied into its buffers. Its noise comes from the
agent's generator, and every replay advances that.

Graphs are standard practice for networks of this size. What this one gains has not been measured on a GPU yet.
"""

from collections import Counter

import torch

from dreamer.agents.agent import Agent, Algorithm
from dreamer.config import Config
from dreamer.types import Batch, Metrics, Phase

WARM_UP = 3
"""Updates that are not recorded, in which the libraries choose their kernels."""


def warm_up(agent: Agent, batch: Batch) -> None:
    """Take the updates that come before the first replay, if `agent` replays a graph; else none."""
    if isinstance(agent, GraphedAgent):
        for _ in range(WARM_UP + 1):
            agent.update(batch)


class CudaGraph:
    """One update on buffers of its own, as a CUDA graph."""

    def __init__(self, agent: Agent, batch: Batch, phase: Phase):
        self.batch = {key: tensor.clone() for key, tensor in batch.items()}
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(agent.generator)
        # Other threads may pin memory or act meanwhile; only what this one does is recorded.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.metrics = Agent.update(agent, self.batch, phase)

    @staticmethod
    def warm_up(agent: Agent, batch: Batch, phase: Phase) -> Metrics:
        """Take a plain update on a stream of its own, as recording requires."""
        torch.backends.cudnn.benchmark = (
            True  # every update has the same shapes: let cuDNN try out its kernels
        )
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            metrics = Agent.update(agent, batch, phase)
        current.wait_stream(stream)
        return metrics

    def replay(self, batch: Batch) -> Metrics:
        """Take the update on `batch`; the metrics are overwritten by the next replay."""
        for key, tensor in batch.items():
            self.batch[key].copy_(tensor, non_blocking=True)
        self.graph.replay()
        return dict(self.metrics)


class GraphedAgent(Agent):
    """An agent on a GPU that replays its updates, with one graph for each phase and each shape of the batch.

    The first `WARM_UP` updates of a kind are plain ones, then one is recorded. Each call is exactly one update, because
    recording changes nothing.
    """

    graph = CudaGraph

    def __init__(self, algorithm: Algorithm, config: Config):
        super().__init__(algorithm, config)
        self.warmed: Counter[tuple] = Counter()
        self.recorded: dict[tuple, CudaGraph] = {}

    def update(self, batch: Batch, phase: Phase = "all") -> Metrics:
        kind = (phase, *((key, *tensor.shape) for key, tensor in batch.items()))
        if self.warmed[kind] < WARM_UP:
            self.warmed[kind] += 1
            return self.graph.warm_up(self, batch, phase)
        if kind not in self.recorded:
            self.recorded[kind] = self.graph(self, batch, phase)
        return self.recorded[kind].replay(batch)
