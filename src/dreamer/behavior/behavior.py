"""Actor and value losses on imagined trajectories (paper, Section 3, Eq. 6-8; TF2 dreamer.py:179-199).

actor   max  E sum_t w_t V_lambda(s_t)          by back-propagation through the dynamics
value   min  E sum_t w_t 1/2 (v(s_t) - V_lambda(s_t))^2
"""

import torch
from torch import Tensor, nn

from dreamer.behavior.actor import ACTOR_LAYERS, Actor
from dreamer.behavior.imagine import ImaginationNoise, draw_noise, imagine
from dreamer.behavior.lambda_return import discount_weights, lambda_return
from dreamer.config import BehaviorConfig, ModelConfig
from dreamer.world_model import gaussian
from dreamer.world_model.dense import ScalarHead
from dreamer.world_model.state import State
from dreamer.world_model.world_model import Metrics, WorldModel

VALUE_LAYERS = 3


class Behavior(nn.Module):
    """Actor and value model, and how they learn from a world model."""

    def __init__(self, world_model: WorldModel, model: ModelConfig, config: BehaviorConfig):
        super().__init__()
        self.config = config
        self.actor = Actor(world_model.feat_size, world_model.spec.action, ACTOR_LAYERS, model.units)
        self.value = ScalarHead(world_model.feat_size, VALUE_LAYERS, model.units)

    def draw_noise(self, starts: int, stoch: int, generator: torch.Generator | None) -> ImaginationNoise:
        """Independent noise for `starts` dreams."""
        return draw_noise(self.actor, self.config.horizon, starts, stoch, generator)

    def losses(
        self, world_model: WorldModel, start: State, noise: ImaginationNoise, alive: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor, Metrics]:
        """Actor and value loss for dreams from `start` `(N, .)`; those count that are `alive` `(N,)`.

        Each is to be differentiated by its own parameters alone: the actor's gradient passes through reward
        and value head and the dynamics without training them.
        """
        feat = imagine(world_model.rssm, self.actor, start, *noise).feat
        reward, value, discount = world_model.reward(feat), self.value(feat), world_model.discount(feat)
        # TF1 takes the value of the second-last state, by a list cut off too early (utility.py:319-327).
        returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], self.config.lambda_)
        weights = alive * discount_weights(discount[:-1])
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


def alive_starts(discount: Tensor, is_first: Tensor, drop_last: bool) -> Tensor:
    """Which of these starts count: 1 or 0, `(N,)`, from the stored discount and `is_first`, `(B, T)`.

    A row may be packed of several episodes, each beginning where `is_first` holds. The state before such a
    seam ends an episode, and a dream from it counts by the stored discount: not at all where the environment
    terminated.
    """
    ends = torch.zeros_like(is_first)
    ends[:, :-1] = is_first[:, 1:]
    alive = torch.where(ends, discount, torch.ones_like(discount))
    return (alive[:, :-1] if drop_last else alive).flatten()
