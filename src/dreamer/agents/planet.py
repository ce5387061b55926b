"""PlaNet: the same world model, and a search for actions at every decision (paper, Figure 7).

As the paper ran it: everything else is Dreamer's, only the world model is trained.
"""

import torch
from torch import Tensor

from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import autocast
from dreamer.behavior.cem import Planner
from dreamer.world_model.state import State


class PlaNet(ModelBasedAgent):
    """World model and planner, which has no weights."""

    behavior: Planner

    def make_behavior(self) -> Planner:
        b = self.config.behavior
        size = self.spec.action.size
        return Planner(size, b.plan_horizon, b.plan_iterations, b.plan_candidates, b.plan_elites)

    def choose(self, latent: State, explore: bool, generator: torch.Generator) -> Tensor:
        """The first action of a fresh plan, which heeds the discount head if there is one."""
        model, noise = self.world_model, self.behavior.draw_noise(latent, generator)
        with autocast(self.device, self.dtype):
            return self.behavior.plan(model.rssm, model.reward, latent, noise, model.pcont)
