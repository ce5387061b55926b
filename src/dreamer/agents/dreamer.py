"""Dreamer (paper, Algorithm 1): dynamics learning, behavior learning, and acting.

Letters and shapes are those of `dreamer.types`; `docs/algorithm.md` goes through the paper equation by equation.
"""

import torch
from torch import Tensor, nn

from dreamer.agents.optimizers import Optimizers
from dreamer.agents.policy_state import PolicyState
from dreamer.behavior.actor import Actor
from dreamer.behavior.exploration import explored
from dreamer.behavior.imagination import discount_weights, draw_noise, imagination_starts, lambda_return
from dreamer.config import Config
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase
from dreamer.world_model.gaussian import unit_log_prob
from dreamer.world_model.mlp import ScalarMLP
from dreamer.world_model.world_model import WorldModel

VALUE_LAYERS = 3


class Dreamer(nn.Module):
    """World model, actor and value model, each with an Adam of its own (and so has a decoder for videos only)."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        self.spec, self.config = spec, config
        self.world_model = WorldModel(spec, config)
        self.actor = Actor(self.world_model.feat_size, spec.action, config.model.units)
        self.value = ScalarMLP(self.world_model.feat_size, VALUE_LAYERS, config.model.units)
        networks = self.world_model.trained_by()
        networks |= {"actor": list(self.actor.parameters()), "value": list(self.value.parameters())}
        self.optimizers = Optimizers(networks, config.optimizer)

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        """Take one gradient step on a batch of sequences `(B, T, ...)`; `phase` says which networks learn.

        All losses are computed with the same parameters, and each trains its own network only (TF2
        dreamer.py:157-240). So the networks change together at the end, not one by one as in Algorithm 1.
        """
        # Dynamics learning (lines 6 and 7, Eq. 10)
        losses, posterior, metrics = self.world_model.losses(batch, noise["filter"])  # posterior (B, T, .)
        if phase == "model":
            return metrics | self.optimizers.step(losses)

        # Imagination: from every posterior state, follow the actor for H steps (lines 8 and 9, Eq. 2)
        start, alive = imagination_starts(self.world_model, posterior, batch)  # (N, .), (N,)
        rssm = self.world_model.rssm
        feat = rssm.imagine(self.actor.sample, start, noise["action"], noise["state"]).feat  # (H, N, F)
        reward = self.world_model.reward(feat)  # (H, N)
        discount = self.world_model.discount(feat)  # (H, N)
        value = self.value(feat)  # (H, N)

        # Lambda-returns (line 10, Eq. 6) of the first H - 1 imagined states; the value of the last is the bootstrap
        lambda_ = self.config.behavior.lambda_
        returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], lambda_)  # (H - 1, N)

        # Actor loss (line 11, Eq. 7) and value loss (line 12, Eq. 8)
        # Each state is weighted by the product of the discounts before it: always, as in TF2 (paper: only if episodes
        # end early). `alive` is 1 except with --pcont.
        weight = alive * discount_weights(discount[:-1])  # (H - 1, N)
        actor_loss = -(weight * returns).mean()
        value_loss = -(weight * unit_log_prob(value[:-1], returns.detach())).mean()
        metrics |= {
            "actor/loss": actor_loss.detach(),
            "value/loss": value_loss.detach(),
            "imagine/reward": reward.detach().mean(),
            "imagine/value": value.detach().mean(),
            "imagine/return": returns.detach().mean(),
        }
        metrics |= self.actor.statistics(start.feat, noise["action"][0])

        # The step (lines 7, 11 and 12): each loss trains its own network only
        losses["value"] = value_loss
        if phase == "all":
            losses["actor"] = actor_loss
        return metrics | self.optimizers.step(losses)

    def draw_noise(self, rows: int, length: int, generator: torch.Generator) -> Noise:
        """Draw the noise of one update on `rows` sequences of `length` steps."""
        horizon = self.config.behavior.horizon
        return draw_noise(self.world_model, self.actor, horizon, rows, length, generator)

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Filter observations `(N, ...)`, then act: with `explore` a sample with exploration noise, else the mode.

        Returns the next state; its `action` is the one to take.
        """
        latent = self.world_model.filter(obs, state.latent, state.action, generator)  # line 15: (N, .)
        action = self.actor.act(latent.feat, explore, generator)  # line 16: (N, A)
        if explore:  # line 17
            noise, steps = self.config.behavior.expl_noise, self.optimizers.steps
            action = explored(action, self.spec.action, noise, steps, generator)
        return PolicyState(latent, action)
