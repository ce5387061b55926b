"""One run in several processes, one for each GPU: `torchrun --nproc-per-node 2 -m dreamer train ...`.

Experimental: tested with two processes on a CPU, and not yet run on two GPUs.

Rank 0 runs the `Trainer` as it would alone, with an agent wrapped in `DataParallel`, which scatters the rows
of every batch. The other ranks have no environments and no replay (`run_other_rank`); they take part in the
updates. All ranks hold the same weights and take the same steps. Each draws the noise of the whole batch and
takes its share, so a run does on two GPUs what it does on one, up to rounding.
"""

import contextlib
import datetime
import os
import signal
from collections.abc import Iterator
from typing import Any, cast

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
"""How long a rank waits for another: rank 0 may be evaluating.

Gloo notices at once that another rank has ended, and all wait for rank 0 by gloo. In the middle of an update
GPUs exchange by NCCL, which notices nothing before this time is over; there `torchrun` ends the other ranks.
"""

CHECK_EVERY = 1000
"""Updates between two comparisons of the weights; the first is after the first update."""


@contextlib.contextmanager
def process_group(config: Config) -> Iterator[Ranks]:
    """Join the processes that `torchrun` has started; a process that was started alone is rank 0 of 1.

    Whatever ends rank 0, the others are told to stop. Raises `UserError` if there are too few GPUs.
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
        raise  # the others notice by themselves, and a broken connection is left alone
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
    """Return gloo for processors, and NCCL beside it for GPUs, of which each rank takes one."""
    if pick_device(config.training.device).type == "cpu":
        return "gloo"
    local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= present:
        raise UserError(f"This machine has {present} GPUs: start it with --nproc-per-node {present} at most.")
    torch.cuda.set_device(local)
    return "cpu:gloo,cuda:nccl"


class RankAgent(Agent):
    """An agent of one rank: it draws the noise of the whole batch and takes its share, as its rows are a share."""

    ranks: Ranks

    def draw_noise(self, rows: int, length: int) -> Noise:
        whole = super().draw_noise(rows * self.ranks.size, length)
        dims = {"filter": 0, "action": 1, "state": 1}
        return {key: x.chunk(self.ranks.size, dims[key])[self.ranks.rank] for key, x in whole.items()}


class DataParallel:
    """The agent of rank 0. It scatters every batch to all ranks, and leaves everything else to the wrapped agent."""

    def __init__(self, agent: Agent, ranks: Ranks):
        self._agent, self._ranks = agent, ranks
        self._updates = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # nothing private, and nothing that Python asks a copy or a pickle for
            raise AttributeError(name)
        return getattr(self._agent, name)

    def update(self, batch: Batch, phase: Phase = "all") -> Metrics:
        """Take one gradient step, each rank on its own rows; see `Agent.update`."""
        self._ranks.broadcast(("update", phase, self._ranks.layout(batch)))
        self._updates += 1
        return update(self._agent, self._ranks, self._ranks.scatter(batch), phase, self._updates)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state in every rank; see `Agent.load_state_dict`."""
        self._ranks.broadcast(("load", state))
        self._agent.load_state_dict(state)


def make_parallel_agent(spec: EnvSpec, config: Config, ranks: Ranks) -> Agent:
    """Make the agent that the trainer of rank 0 uses; with a single rank it is an ordinary one.

    Raises `UserError` if the batch cannot be shared by so many ranks.
    """
    if ranks.size == 1:
        return make_agent(spec, config)
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
        raise UserError(f"--agent {config.behavior.agent} learns in one process: start it without torchrun.")
    agent = make_rank(spec, config, ranks)
    ranks.broadcast(("start", spec))
    return cast(Agent, DataParallel(agent, ranks))


def run_other_rank(config: Config, ranks: Ranks) -> None:
    """Take part in the updates of rank 0 until it stops; Ctrl-C is left to rank 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    order, *content = ranks.broadcast()
    if order == "stop":
        return
    agent, updates = make_rank(content[0], config, ranks), 0
    while (order := ranks.broadcast())[0] != "stop":
        match order:
            case "load", state:
                agent.load_state_dict(state)
            case "update", phase, layout:
                updates += 1
                update(agent, ranks, ranks.receive(layout, agent.device), phase, updates)


def make_rank(spec: EnvSpec, config: Config, ranks: Ranks) -> Agent:
    """Make the agent of one rank, whose gradients and free nats are those of the whole batch."""
    agent = make_agent(spec, config)
    agent.__class__, agent.ranks = RankAgent, ranks  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(agent.algorithm, Dreamer | NoValue | PlaNet):
        agent.algorithm.optimizers.average = ranks.all_reduce_mean
        agent.algorithm.world_model.batch_mean = lambda x: ranks.all_reduce_mean((x.mean(),))[0]
    return agent


def update(agent: Agent, ranks: Ranks, rows: Batch, phase: Phase, number: int) -> Metrics:
    """Take update `number` on this rank's rows, and return the metrics of the whole batch.

    Every `CHECK_EVERY` updates, raise `RuntimeError` if the ranks no longer have the same weights.
    """
    metrics = agent.update(rows, phase)
    if number % CHECK_EVERY == 1 and not ranks.all_equal(_checksums(agent)):
        raise RuntimeError(f"After {number} updates the processes no longer have the same weights.")
    return dict(zip(metrics, ranks.all_reduce_mean(tuple(metrics.values())), strict=True))


def _checksums(agent: Agent) -> Tensor:
    """Return one number for each network."""
    networks = list(agent.algorithm.children())
    sums = [
        torch.stack([p.detach().double().sum() for p in network.parameters()]).sum() for network in networks
    ]
    return torch.stack(sums)
