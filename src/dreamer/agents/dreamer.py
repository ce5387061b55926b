"""Dreamer (paper, Algorithm 1): the inner loop's two learning steps.

Dynamics learning and behaviour learning share a batch: the posterior states of the first start the dreams of
the second.
"""

import torch
from torch import Tensor

from dreamer.agents.agent import Metrics
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.actor import MODE_SAMPLES
from dreamer.behavior.behavior import Behavior
from dreamer.world_model.state import State

__all__ = ["Dreamer", "PolicyState"]


class Dreamer(ModelBasedAgent):
    """World model, actor and value model with their three optimisers."""

    behavior: Behavior

    def make_behavior(self) -> Behavior:
        return Behavior(self.world_model, self.config.model, self.config.behavior)

    def behavior_losses(self, start: State, alive: Tensor | float) -> tuple[dict[str, Tensor], Metrics]:
        """Of actor and value model, from the same dreams."""
        noise = self.dream_noise(self.behavior.draw_noise, len(start.stoch))
        actor_loss, value_loss, metrics = self.behavior.losses(self.world_model, start, noise, alive)
        return {"value": value_loss, "actor": actor_loss}, metrics

    def choose(self, latent: State, explore: bool, generator: torch.Generator) -> Tensor:
        """A sample of the actor, or its mode."""
        samples = None if explore else MODE_SAMPLES
        return self.behavior.actor.act(latent.feat, samples, generator)
