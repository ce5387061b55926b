"""Actor and value losses on imagined trajectories (paper, Section 3, Eq. 6-8; TF2 dreamer.py:179-199).

actor   max  E sum_t w_t V_lambda(s_t)          by back-propagation through the dynamics
value   min  E sum_t w_t 1/2 (v(s_t) - V_lambda(s_t))^2
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamer.behavior.actor import Actor
from dreamer.behavior.imagine import imagine
from dreamer.behavior.lambda_return import discount_weights, lambda_return
from dreamer.config import BehaviorConfig, ModelConfig
from dreamer.world_model import gaussian
from dreamer.world_model.dense import ScalarHead
from dreamer.world_model.state import State
from dreamer.world_model.world_model import Metrics, WorldModel


class ImaginationNoise(NamedTuple):
    """All randomness of N dreams: `action` `(H, N, A)` and `state` `(H, N, S)`."""

    action: Tensor
    state: Tensor


class Behavior(nn.Module):
    """Actor and value model, and how they learn from a world model."""

    def __init__(self, world_model: WorldModel, model: ModelConfig, config: BehaviorConfig):
        super().__init__()
        self.config = config
        self.actor = Actor(world_model.feat_size, world_model.spec.action, config.actor_layers, model.units)
        self.value = ScalarHead(world_model.feat_size, config.value_layers, model.units)

    def draw_noise(self, starts: int, stoch: int, generator: torch.Generator | None) -> ImaginationNoise:
        """Independent noise for `starts` dreams."""
        horizon, device = self.config.horizon, self.actor.head.out.weight.device
        action = self.actor.draw_noise(horizon, starts, generator=generator)
        state = torch.randn(horizon, starts, stoch, generator=generator, device=device)
        return ImaginationNoise(action, state)

    def losses(
        self, world_model: WorldModel, start: State, noise: ImaginationNoise
    ) -> tuple[Tensor, Tensor, Metrics]:
        """Actor and value loss for dreams from `start` `(N, .)`.

        Each is to be differentiated by its own parameters alone: the actor's gradient passes through reward and
        value head and the dynamics without training them.
        """
        feat = imagine(world_model.rssm, self.actor, start, *noise).feat
        reward, value, discount = world_model.reward(feat), self.value(feat), world_model.discount(feat)
        returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], self.config.lambda_)
        weights = discount_weights(discount[:-1])
        actor_loss = -(weights * returns).mean()
        # The same value forward pass serves both losses: only the value's own parameters are asked for here.
        value_loss = -(weights * gaussian.unit_log_prob(value[:-1], returns.detach())).mean()
        metrics = {
            "actor/loss": actor_loss.detach(),
            "value/loss": value_loss.detach(),
            "imagine/reward": reward.detach().mean(),
            "imagine/value": value.detach().mean(),
            "imagine/return": returns.detach().mean(),
        }
        return actor_loss, value_loss, metrics


def imagination_starts(posterior: State, drop_last: bool) -> State:
    """Every posterior state `(B, T, .)` starts a dream: `(N, .)`, N = B T, cut from the model's graph.

    With a discount head the last step of a sequence is left out: it may be terminal (TF2 dreamer.py:180-181).
    """
    if drop_last:
        posterior = posterior.map(lambda x: x[:, :-1])
    return posterior.detach().flatten()
