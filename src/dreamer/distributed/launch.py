"""One run in several processes, one for each GPU: `torchrun --nproc-per-node 2 -m dreamer train ...`.

Experimental: tested with two processes on a CPU, but not yet run on two GPUs.

Rank 0 runs the `Trainer` as a single process would, with a `MainAgent`, which scatters the rows of every batch. The
other ranks have no environments and no replay, and only take part in the updates (`run_other_rank`). All ranks hold the
same weights and take the same steps. Each draws the noise of the whole batch and takes its share. So a run computes on
two GPUs what it computes on one, up to rounding.
"""

import contextlib
import datetime
import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.precision import pick_device
from dreamer.config import Config
from dreamer.distributed.ranks import PeerError, Ranks
from dreamer.errors import UserError
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase

PEER_TIMEOUT = datetime.timedelta(days=1)
"""How long a rank waits for another, which may be rank 0 in an evaluation.

Ranks wait for rank 0 through gloo, which notices at once that another rank has ended. In the middle of an update, GPUs
exchange tensors through NCCL, which would notice only when this time is over; there `torchrun` ends the other ranks.
"""

CHECK_EVERY = 1000
"""Updates between two comparisons of the weights; the first one follows the first update."""


@contextlib.contextmanager
def process_group(config: Config) -> Iterator[Ranks]:
    """Join the processes that `torchrun` has started; a process that was started alone is rank 0 of 1.

    When rank 0 ends, by an error too, it tells the others to stop. Raises `UserError` if there are too few GPUs.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    dist.init_process_group(_backend(config), timeout=PEER_TIMEOUT)
    ranks = Ranks(rank, size)
    try:
        yield ranks
    except PeerError:
        raise  # the connection is broken; the others notice that by themselves
    except BaseException:
        _stop_others(ranks)
        raise
    _stop_others(ranks)
    dist.destroy_process_group()


def _stop_others(ranks: Ranks) -> None:
    if ranks.is_main:
        with contextlib.suppress(PeerError):
            ranks.broadcast(("stop",))


def _backend(config: Config) -> str:
    """Return gloo for CPUs, and gloo with NCCL for GPUs, of which each rank takes one."""
    if pick_device(config.training.device).type == "cpu":
        return "gloo"
    local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= present:
        raise UserError(f"This machine has {present} GPUs: start it with --nproc-per-node {present} at most.")
    torch.cuda.set_device(local)
    return "cpu:gloo,cuda:nccl"


class RankAgent(Agent):
    """The agent of one rank, which learns from its own rows of every batch.

    Every rank draws the noise of the whole batch and takes its share. Gradients are averaged over the whole batch, and
    so is the KL that is compared with the free nats.
    """

    def __init__(self, spec: EnvSpec, config: Config, ranks: Ranks):
        super().__init__(make_agent(spec, config).algorithm, config)
        self.ranks, self.updates = ranks, 0
        if isinstance(self.algorithm, Dreamer | NoValue | PlaNet):
            self.algorithm.optimizers.average = ranks.all_reduce_mean
            self.algorithm.world_model.batch_mean = lambda x: ranks.all_reduce_mean((x.mean(),))[0]

    def draw_noise(self, rows: int, length: int) -> Noise:
        whole = super().draw_noise(rows * self.ranks.size, length)
        dims = {"filter": 0, "action": 1, "state": 1}
        return {key: x.chunk(self.ranks.size, dims[key])[self.ranks.rank] for key, x in whole.items()}

    def update(self, batch: Batch, phase: Phase = "all") -> Metrics:
        """Take one gradient step on this rank's rows, and return the metrics of the whole batch.

        Every `CHECK_EVERY` updates, raise `RuntimeError` if the ranks no longer have the same weights.
        """
        metrics = super().update(batch, phase)
        self.updates += 1
        if self.updates % CHECK_EVERY == 1 and not self.ranks.all_equal(self._checksums()):
            raise RuntimeError(f"After {self.updates} updates the processes no longer have the same weights.")
        return dict(zip(metrics, self.ranks.all_reduce_mean(tuple(metrics.values())), strict=True))

    def _checksums(self) -> Tensor:
        """Return one number for each network."""
        networks = [[p.detach().flatten() for p in x.parameters()] for x in self.algorithm.children()]
        return torch.stack([torch.cat(weights).double().sum() for weights in networks])


class MainAgent(RankAgent):
    """The agent of rank 0, which its trainer uses like any other: it scatters every batch to all ranks.

    Raises `UserError` if the rows of a batch cannot be shared by so many ranks.
    """

    def __init__(self, spec: EnvSpec, config: Config, ranks: Ranks):
        if config.replay.batch_size % ranks.size:
            raise UserError(
                f"--batch-size {config.replay.batch_size} cannot be shared equally by {ranks.size} processes:"
                " take a multiple of their number."
            )
        if config.model.objective in ("contrastive", "contrastive-tf1"):
            raise UserError(
                f"--objective {config.model.objective} compares all rows of a batch with each other, so"
                " they cannot be shared: start one process."
            )
        if config.baseline is not None:
            raise UserError(
                f"--agent {config.behavior.agent} learns in one process: start it without torchrun."
            )
        super().__init__(spec, config, ranks)
        ranks.broadcast(("start", spec))

    def update(self, batch: Batch, phase: Phase = "all") -> Metrics:
        """Take one gradient step on a batch `(B, T, ...)`, each rank on its own rows."""
        self.ranks.broadcast(("update", phase, self.ranks.layout(batch)))
        return super().update(self.ranks.scatter(batch), phase)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state in every rank; see `Agent.load_state_dict`."""
        self.ranks.broadcast(("load", state))
        super().load_state_dict(state)


def make_parallel_agent(spec: EnvSpec, config: Config, ranks: Ranks) -> Agent:
    """Make the agent of rank 0 for its trainer; with a single rank it is an ordinary one."""
    return make_agent(spec, config) if ranks.size == 1 else MainAgent(spec, config, ranks)


def run_other_rank(config: Config, ranks: Ranks) -> None:
    """Take part in the updates of rank 0 until it stops; Ctrl-C is left to rank 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    order, *content = ranks.broadcast()
    if order == "stop":
        return
    agent = RankAgent(content[0], config, ranks)
    while (order := ranks.broadcast())[0] != "stop":
        match order:
            case "load", state:
                agent.load_state_dict(state)
            case "update", phase, layout:
                agent.update(ranks.receive(layout, agent.device), phase)
