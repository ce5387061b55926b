"""One run on several GPUs: `torchrun --nproc-per-node 2 -m dreamer train ...`.

The first process runs the `Trainer` as it would alone, but for its agent: a `Leader`, which hands out the
rows of every batch. The others `follow`: they have no environments and no replay, and update the same
weights. Every process draws the noise of the whole batch and takes its share: a run does on two GPUs what it
does on one, up to rounding.
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

from dreamer.agents.agent import Agent, Learning, Metrics
from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import pick_device
from dreamer.agents.ranks import PeerError, Ranks
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.training.host_memory import keep_freed_memory

PATIENCE = datetime.timedelta(days=1)
"""How long a process waits for another: the leader may be evaluating.

Gloo notices at once that another has ended, and all wait for the leader by gloo. In the middle of an update
GPUs exchange by NCCL, which notices nothing before this time is over; there it is `torchrun` that ends the
others.
"""

CHECK_EVERY = 1000
"""Updates after which the weights are compared, and after the first."""


@contextlib.contextmanager
def joined(config: Config) -> Iterator[Ranks]:
    """This process among those that `torchrun` has started; alone if it was started by itself.

    Whatever ends the leader, the others are told to stop. Raises `UserError` if there are too few GPUs.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    dist.init_process_group(_backend(config), timeout=PATIENCE)
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
    if ranks.leads:
        with contextlib.suppress(PeerError):
            ranks.tell(("stop",))


def _backend(config: Config) -> str:
    """Gloo for processors; for GPUs, of which each process takes one, NCCL beside it."""
    if pick_device(config.training.device).type == "cpu":
        return "gloo"
    local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= present:
        raise UserError(f"This machine has {present} GPUs: start it with --nproc-per-node {present} at most.")
    torch.cuda.set_device(local)
    return "cpu:gloo,cuda:nccl"


class Leader:
    """An agent that learns together with those that follow; all but that it does as it would alone."""

    def __init__(self, agent: Agent, ranks: Ranks):
        self._agent, self._ranks = agent, ranks
        self._updates = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # nothing private, nothing that Python asks a half-made object for
            raise AttributeError(name)
        return getattr(self._agent, name)

    def update(self, batch: dict[str, Tensor], learning: Learning = "all") -> Metrics:
        """As `Agent.update`, every process on its own rows."""
        self._ranks.tell(("update", learning, self._ranks.layout(batch)))
        metrics = self._agent.update(self._ranks.hand_out(batch), learning)
        self._updates += 1
        _check_now_and_then(self._agent, self._ranks, self._updates)
        return metrics

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Agent.load_state_dict`, in every process."""
        self._ranks.tell(("load", state))
        self._agent.load_state_dict(state)


def lead(agent: Agent, config: Config, ranks: Ranks) -> Agent:
    """The agent as the trainer is to use it: itself if the process is alone, else a `Leader`.

    Raises `UserError` if the batch cannot be shared by so many.
    """
    if ranks.size == 1:
        return agent
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
    agent.ranks = ranks
    ranks.tell(("start", agent.spec))
    return cast(Agent, Leader(agent, ranks))


def follow(config: Config, ranks: Ranks) -> None:
    """Do what the leader says until it says stop; Ctrl-C is for the leader."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    keep_freed_memory()
    order, *said = ranks.hear()
    if order == "stop":
        return
    agent, updates = make_agent(said[0], config), 0
    agent.ranks = ranks
    while (order := ranks.hear())[0] != "stop":
        match order:
            case "load", state:
                agent.load_state_dict(state)
            case "update", learning, layout:
                agent.update(ranks.take(layout, agent.device), learning)
                updates += 1
                _check_now_and_then(agent, ranks, updates)


def _check_now_and_then(agent: Agent, ranks: Ranks, updates: int) -> None:
    """Raise `RuntimeError` if the weights have come apart, which no user can put right."""
    if (
        updates % CHECK_EVERY == 1
        and isinstance(agent, ModelBasedAgent)
        and not ranks.same(_checksums(agent))
    ):
        raise RuntimeError(f"After {updates} updates the processes no longer have the same weights.")


def _checksums(agent: ModelBasedAgent) -> Tensor:
    """One number for each network."""
    networks = [optimizer.parameters for optimizer in agent.optimizers.values()]
    sums = [torch.stack([p.detach().double().sum() for p in network]).sum() for network in networks]
    return torch.stack(sums)
