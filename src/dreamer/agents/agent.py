"""What every agent can do."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.policy_state import PolicyState
from dreamer.spec import EnvSpec

Observation = dict[str, np.ndarray]
Metrics = dict[str, Tensor]


class Agent(Protocol):
    """Acts on observations of N environments and learns from batches of sequences."""

    spec: EnvSpec
    device: torch.device
    learns: bool
    """Whether `update` does anything."""

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

    def update(self, batch: dict[str, Tensor], behavior: bool = True) -> Metrics:
        """One gradient step on a batch `(B, L, ...)`; without `behavior` of the world model alone."""
        ...

    def open_loop(
        self, batch: dict[str, Tensor], context: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Decoded observations of `(B, T, ...)`, of which only the first `context` steps are seen."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
