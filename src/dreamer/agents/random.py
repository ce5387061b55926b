"""An agent that acts at random and learns nothing: every other agent should do better."""

import torch
from torch import Tensor, nn

from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.exploration import random_action
from dreamer.config import Config
from dreamer.types import EnvSpec


class Random(nn.Module):
    """Takes uniform actions whatever it sees, in evaluation too."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        del config
        self.spec = spec

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Take uniform actions `(N, A)`."""
        del obs, explore
        return PolicyState(state.latent, random_action(self.spec.action, len(state.action), generator))
