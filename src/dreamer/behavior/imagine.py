"""Latent imagination: trajectories of the actor inside the learned dynamics (paper, Section 3, Eq. 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.behavior.actor import Actor
from dreamer.world_model.rssm import RSSM
from dreamer.world_model.state import State, stack


class ImaginationNoise(NamedTuple):
    """All randomness of N dreams: `action` `(H, N, A)` and `state` `(H, N, S)`."""

    action: Tensor
    state: Tensor


def draw_noise(
    actor: Actor, horizon: int, starts: int, stoch: int, generator: torch.Generator | None
) -> ImaginationNoise:
    """Independent noise for `starts` dreams."""
    action = actor.draw_noise(horizon, starts, generator=generator)
    state = torch.randn(horizon, starts, stoch, generator=generator, device=action.device)
    return ImaginationNoise(action, state)


def imagine(rssm: RSSM, actor: Actor, start: State, action_noise: Tensor, state_noise: Tensor) -> State:
    """Follow the actor for H steps from `start` `(N, .)`, with noise `(H, N, A)` and `(H, N, S)`.

    Returns the states AFTER each action, `(H, N, .)`; the start is not among them (TF2 dreamer.py:270-281).
    The gradient of later states reaches the actor through its actions and the dynamics. It does not pass
    through what the actor reads: an action is credited for its consequences, not for the actions that they
    provoke.
    """
    dynamics, actor_layers = rssm.over_time(learns=False), actor.head.layers_over_time()
    states, state = [], start
    for noise_a, noise_s in zip(action_noise, state_noise, strict=True):
        action = actor.sample(_read_by_actor(state), noise_a, actor_layers)
        state = dynamics.imagine_step(state, action, noise_s)
        states.append(state)
    return stack(states, dim=0)


def _read_by_actor(state: State) -> Tensor:
    """The features, as precise as the memory is: under autocast the actor's layers read no more of them."""
    return torch.cat([state.stoch.detach().to(state.deter.dtype), state.deter.detach()], -1)
