"""Dreamer without a value model (paper, Eq. 4 and Figure 7, "No value"; TF1 utility.py:302-316).

The actor maximizes the rewards up to the horizon alone. For every imagined step that is the discounted sum of the
rewards still to come, without a bootstrap. All steps have equal weight.

    actor   max  E 1/H sum_i R_i,    R_i = r_i + gamma_i R_{i+1},    R_H = r_H
"""

import torch
from torch import Tensor, nn

from dreamer.agents.optimizers import Optimizers
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.actor import Actor
from dreamer.behavior.exploration import explored
from dreamer.behavior.imagination import draw_noise, imagination_starts, lambda_return
from dreamer.config import Config
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase
from dreamer.world_model.world_model import WorldModel


class NoValue(nn.Module):
    """World model and actor, each with an Adam of its own."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        self.spec, self.config = spec, config
        self.world_model = WorldModel(spec, config)
        self.actor = Actor(self.world_model.feat_size, spec.action, config.model.units)
        networks = self.world_model.trained_by() | {"actor": list(self.actor.parameters())}
        self.optimizers = Optimizers(networks, config.optimizer)

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        """Take one gradient step on a batch of sequences `(B, T, ...)`; the actor learns only in the phase `all`."""
        # Dynamics learning (Eq. 10)
        losses, posterior, metrics = self.world_model.losses(batch, noise["filter"])  # posterior (B, T, .)
        if phase != "all":
            return metrics | self.optimizers.step(losses)

        # Imagination: from every posterior state, follow the actor for H steps (Eq. 2)
        start, alive = imagination_starts(self.world_model, posterior, batch)  # (N, .), (N,)
        rssm = self.world_model.rssm
        feat = rssm.imagine(self.actor.sample, start, noise["action"], noise["state"]).feat  # (H, N, F)
        reward, discount = self.world_model.reward(feat), self.world_model.discount(feat)  # (H, N)

        # Returns without a value (Eq. 4, with a discount)
        zeros = torch.zeros_like(reward)
        returns = lambda_return(reward, zeros, discount, zeros[0], lambda_=1.0)  # (H, N)
        actor_loss = -(alive * returns).mean()
        metrics |= {
            "actor/loss": actor_loss.detach(),
            "imagine/reward": reward.detach().mean(),
            "imagine/return": returns.detach().mean(),
        }
        metrics |= self.actor.statistics(start.feat, noise["action"][0])
        return metrics | self.optimizers.step(losses | {"actor": actor_loss})

    def draw_noise(self, rows: int, length: int, generator: torch.Generator) -> Noise:
        """Draw the noise of one update on `rows` sequences of `length` steps."""
        horizon = self.config.behavior.horizon
        return draw_noise(self.world_model, self.actor, horizon, rows, length, generator)

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Filter observations `(N, ...)`, then act, as Dreamer does."""
        latent = self.world_model.filter(obs, state.latent, state.action, generator)  # (N, .)
        action = self.actor.act(latent.feat, explore, generator)  # (N, A)
        if explore:
            noise, steps = self.config.behavior.expl_noise, self.optimizers.steps
            action = explored(action, self.spec.action, noise, steps, generator)
        return PolicyState(latent, action)
