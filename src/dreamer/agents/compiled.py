"""Updates whose small operations are compiled (`--update compiled`): each group of them to one kernel.

Between the products of its loops over time an update has a few elementwise operations, thousands in all.
`torch.compile` compiles them, which takes half a minute at the first update, and rounds otherwise in the last
bits. Acting is left as it is. On a GPU the whole is recorded as a graph besides (`captured.py`).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from dreamer.agents.agent import Agent, Learning, Metrics
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.behavior.actor import Actor, sample_tanh_normal
from dreamer.errors import UserError
from dreamer.world_model.elementwise import FORMULAS, PLAIN, Elementwise, elu_of_sum


def compiled(agent: Agent) -> Agent:
    """The same agent, whose updates are compiled; all but that it does as it did.

    Raises `UserError` where nothing can be compiled.
    """
    if not isinstance(agent, ModelBasedAgent):  # the random one has nothing to compile
        return agent
    _try_out(agent.device)
    return cast(Agent, Compiled(agent))


class Compiled:
    """An agent with compiled operations in the loops of its updates."""

    def __init__(self, agent: ModelBasedAgent):
        self._agent = agent
        self._elementwise = Elementwise(*(_compile(function) for function in FORMULAS))
        self._squashed = _compile(sample_tanh_normal)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # nothing private, nothing that Python asks a half-made object for
            raise AttributeError(name)
        return getattr(self._agent, name)

    def update(self, batch: dict[str, Tensor], learning: Learning = "all") -> Metrics:
        """As `Agent.update`."""
        with self._in_place():
            return self._agent.update(batch, learning)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """For an update alone: shapes are the same in each, and a function is compiled for few of them."""
        rssm, actor = self._agent.world_model.rssm, getattr(self._agent.behavior, "actor", None)
        try:
            rssm.elementwise = self._elementwise
            if isinstance(actor, Actor):
                actor.squashed = self._squashed
            yield
        finally:
            rssm.elementwise = PLAIN
            if isinstance(actor, Actor):
                actor.squashed = sample_tanh_normal


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False, fullgraph=True)


def _try_out(device: torch.device) -> None:
    """Raise `UserError` if a small function cannot be compiled here: there may be no compiler."""
    try:
        _compile(elu_of_sum)(torch.ones(2, device=device), torch.ones(2, device=device))
    except Exception as error:  # each backend has errors of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            "--update compiled needs a C++ compiler, such as g++, and on a GPU Triton: install them, or leave"
            f" it out ({reason})."
        ) from error
