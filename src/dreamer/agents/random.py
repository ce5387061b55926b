"""An agent that acts at random and learns nothing: the lowest line of every plot."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.agent import Learning, Metrics, Observation
from dreamer.agents.policy_state import PolicyState
from dreamer.agents.ranks import Ranks
from dreamer.behavior.exploration import random_action
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.spec import EnvSpec
from dreamer.world_model.state import State


class RandomAgent:
    """Uniform actions, whatever is seen."""

    learns = False
    predicts = False

    def __init__(self, spec: EnvSpec, config: Config):
        del config
        self.spec = spec
        self.device = torch.device("cpu")
        self.ranks = Ranks()

    def initial_state(self, n: int) -> PolicyState:
        """Nothing to remember but the action."""
        nothing = torch.zeros(n, 0)
        return PolicyState(State(nothing, nothing, nothing, nothing), torch.zeros(n, self.spec.action.size))

    def policy(
        self, obs: Observation, state: PolicyState, explore: bool, generator: torch.Generator
    ) -> tuple[np.ndarray, PolicyState]:
        """Uniform actions `(N, A)`, in evaluation too."""
        del obs, explore
        action = random_action(self.spec.action, len(state.action), generator)
        return action.numpy(), PolicyState(state.latent, action)

    def update(self, batch: dict[str, Tensor], learning: Learning = "all") -> Metrics:
        """Learn nothing."""
        del batch, learning
        return {}

    def open_loop(
        self, batch: dict[str, Tensor], context: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Raises `UserError`: there is no world model to predict with."""
        del batch, context, generator
        raise UserError("The random agent has no world model to dream with: train another --agent.")

    def acting_state(self) -> dict[str, Any]:
        """Actions depend on nothing."""
        return {}

    def load_acting_state(self, state: dict[str, Any]) -> None:
        del state

    def state_dict(self) -> dict[str, Any]:
        """Nothing is learned, nothing is kept."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        del state
