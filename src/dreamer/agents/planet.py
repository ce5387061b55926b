"""PlaNet (Hafner et al., 2019; paper, Figure 7): the same world model, and a search at every agent step.

As in the paper's comparison, everything else is Dreamer's. Only the world model is trained.
"""

import torch
from torch import Tensor, nn

from dreamer.agents.optimizers import Optimizers
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.cem import Planner
from dreamer.behavior.exploration import explored
from dreamer.config import Config
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase
from dreamer.world_model.world_model import WorldModel


class PlaNet(nn.Module):
    """World model with its Adam, and the planner, which has no weights."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        self.spec, self.config = spec, config
        self.world_model = WorldModel(spec, config)
        b = config.behavior
        self.planner = Planner(
            spec.action.size, b.plan_horizon, b.plan_iterations, b.plan_candidates, b.plan_elites
        )
        self.optimizers = Optimizers(self.world_model.trained_by(), config.optimizer)

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        """Take one gradient step of the world model on a batch of sequences `(B, T, ...)` (Eq. 10)."""
        del phase
        losses, _, metrics = self.world_model.losses(batch, noise["filter"])
        return metrics | self.optimizers.step(losses)

    def draw_noise(self, rows: int, length: int, generator: torch.Generator) -> Noise:
        """Draw the noise of one update on `rows` sequences of `length` steps."""
        shape = (rows, length, self.world_model.rssm.stoch)
        return {"filter": torch.randn(shape, generator=generator, device=generator.device)}

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Filter observations `(N, ...)`, then take the first action of a fresh plan, with noise if it explores."""
        latent = self.world_model.filter(obs, state.latent, state.action, generator)  # (N, .)
        plan_noise = self.planner.draw_noise(latent, generator)
        action = self.planner.plan(self.world_model, latent, plan_noise)  # (N, A)
        if explore:
            noise, steps = self.config.behavior.expl_noise, self.optimizers.steps
            action = explored(action, self.spec.action, noise, steps, generator)
        return PolicyState(latent, action)
