"""Dreamer without a value model: the paper's comparison of Figure 7."""

import torch
from torch import Tensor

from dreamer.agents.agent import Metrics
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.behavior.actor import MODE_SAMPLES
from dreamer.behavior.no_value import NoValueBehavior
from dreamer.world_model.state import State


class NoValue(ModelBasedAgent):
    """World model and actor; what lies behind the horizon counts for nothing."""

    behavior: NoValueBehavior

    def make_behavior(self) -> NoValueBehavior:
        return NoValueBehavior(self.world_model, self.config.model, self.config.behavior)

    def behavior_losses(self, start: State, alive: Tensor | float) -> tuple[dict[str, Tensor], Metrics]:
        """Of the actor."""
        noise = self.dream_noise(self.behavior.draw_noise, len(start.stoch))
        loss, metrics = self.behavior.loss(self.world_model, start, noise, alive)
        return {"actor": loss}, metrics

    def choose(self, latent: State, explore: bool, generator: torch.Generator) -> Tensor:
        """A sample of the actor, or its mode."""
        samples = None if explore else MODE_SAMPLES
        return self.behavior.actor.act(latent.feat, samples, generator)
