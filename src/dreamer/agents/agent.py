"""What every agent can do."""

from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.policy_state import PolicyState
from dreamer.agents.ranks import Ranks
from dreamer.spec import EnvSpec

Observation = dict[str, np.ndarray]
Metrics = dict[str, Tensor]
Learning = Literal["model", "model and value", "all"]
"""Which networks an update trains: the world model before the actor, and between them the value model."""


class Agent(Protocol):
    """Acts on observations of N environments and learns from batches of sequences."""

    spec: EnvSpec
    device: torch.device
    learns: bool
    """Whether `update` does anything."""
    ranks: Ranks
    """The processes it learns together with; `Ranks()` for none."""

    @property
    def predicts(self) -> bool:
        """Whether `open_loop` can be asked for."""
        ...

    def initial_state(self, n: int) -> PolicyState:
        """The filter's state before the first observation of `n` episodes."""
        ...

    def policy(
        self, obs: Observation, state: PolicyState, explore: bool, generator: torch.Generator
    ) -> tuple[np.ndarray, PolicyState]:
        """Actions `(N, A)` for observations `(N, ...)`, and the filter's next state."""
        ...

    def update(self, batch: dict[str, Tensor], learning: Learning = "all") -> Metrics:
        """One gradient step on a batch `(B, L, ...)` of the networks that are `learning`."""
        ...

    def open_loop(
        self, batch: dict[str, Tensor], context: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Decoded observations of `(B, T, ...)`, of which only the first `context` steps are seen."""
        ...

    def acting_state(self) -> dict[str, Any]:
        """All of the present state that `policy` depends on."""
        ...

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Act from now on as the agent of the same kind did whose state this is, and learn no more."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
