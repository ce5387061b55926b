"""The comparison system without a value model (paper, Eq. 4 and Figure 7, "No value").

The actor maximises the rewards up to the horizon alone: for every imagined step the discounted sum of what is
still to come, without a bootstrap, all steps weighted alike (TF1 utility.py:302-316; the paper's Eq. 4 is
undiscounted).

    actor   max  E 1/H sum_t R_t,    R_t = r_t + gamma_t R_{t+1},    R_H = r_H
"""

import torch
from torch import Tensor, nn

from dreamer.behavior.actor import ACTOR_LAYERS, Actor
from dreamer.behavior.imagine import ImaginationNoise, draw_noise, imagine
from dreamer.behavior.lambda_return import lambda_return
from dreamer.config import BehaviorConfig, ModelConfig
from dreamer.world_model.state import State
from dreamer.world_model.world_model import Metrics, WorldModel


class NoValueBehavior(nn.Module):
    """An actor, and how it learns from a world model alone."""

    def __init__(self, world_model: WorldModel, model: ModelConfig, config: BehaviorConfig):
        super().__init__()
        self.config = config
        self.actor = Actor(world_model.feat_size, world_model.spec.action, ACTOR_LAYERS, model.units)

    def draw_noise(self, starts: int, stoch: int, generator: torch.Generator | None) -> ImaginationNoise:
        """Independent noise for `starts` dreams."""
        return draw_noise(self.actor, self.config.horizon, starts, stoch, generator)

    def loss(
        self, world_model: WorldModel, start: State, noise: ImaginationNoise, alive: Tensor | float = 1.0
    ) -> tuple[Tensor, Metrics]:
        """The actor's loss for dreams from `start` `(N, .)`; those count that are `alive` `(N,)`."""
        feat = imagine(world_model.rssm, self.actor, start, *noise).feat
        reward = world_model.reward(feat)
        # With lambda = 1 and nothing behind the horizon the lambda-return is the plain return.
        nothing = torch.zeros_like(reward)
        returns = lambda_return(reward, nothing, world_model.discount(feat), nothing[0], lambda_=1.0)
        loss = -(alive * returns).mean()
        metrics = {
            "actor/loss": loss.detach(),
            "imagine/reward": reward.detach().mean(),
            "imagine/return": returns.detach().mean(),
        }
        return loss, metrics
