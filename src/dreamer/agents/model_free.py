"""The interface of algorithms without a world model, such as those in `dreamer.baselines`."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.agents.policy_state import PolicyState
from dreamer.config import Config
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase, Transitions


class ModelFree(nn.Module, ABC):
    """An algorithm that acts, and learns from batches of transitions (D4PG) or in processes of its own (A3C)."""

    spec: EnvSpec
    config: Config
    optimizers: Any
    """Has `grad_step`, `state_dict` and `load_state_dict`."""
    transitions: Transitions | None = None
    """What a batch holds; None if nothing is learned from batches."""

    @abstractmethod
    def initial_state(self, n: int) -> PolicyState:
        """Return the state with which the episodes of `n` environments begin."""

    @abstractmethod
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Act on observations `(N, ...)`."""

    def draw_noise(self, rows: int, length: int, generator: torch.Generator) -> Noise:
        """Return the noise of one update: by default there is none."""
        del rows, length, generator
        return {}

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        """Take one gradient step on a batch, `(B, before + 1 + after, ...)`, with `weight` `(B,)`.

        Among the metrics is the `priority` of each row, `(B,)`.
        """
        raise NotImplementedError
