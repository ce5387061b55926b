"""The recurrent state-space model (paper, Section 4, Eq. 9; TF2 models.py:10-81).

    deterministic state   h_t = GRU(ELU(W [s_{t-1}, a_{t-1}]), h_{t-1})
    prior                 q(s_t | s_{t-1}, a_{t-1})       = N(mean, std),  [mean, raw] = W' ELU(W h_t)
    posterior             p(s_t | s_{t-1}, a_{t-1}, o_t)  = N(mean, std),  [mean, raw] = W' ELU(W [h_t, e_t])

with std = softplus(raw) + 0.1, and a W and W' of its own in every line. Noise is an argument: a sample is
mean + std * noise, with noise drawn anew for every sequence and step. Here s_t is the stochastic part alone; elsewhere
it is the whole state (s_t, h_t). Shapes are those of `dreamer.types`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.world_model.mlp import linear

MIN_STD = 0.1
"""Smallest standard deviation of prior and posterior."""


class State(NamedTuple):
    """A latent state: `stoch` is the s_t above, sampled from N(`mean`, `std`), and `deter` is h_t."""

    mean: Float[Tensor, "*N S"]
    std: Float[Tensor, "*N S"]
    stoch: Float[Tensor, "*N S"]
    deter: Float[Tensor, "*N D"]

    @property
    def feat(self) -> Float[Tensor, "*N F"]:
        """The feature that every head reads: `stoch`, then `deter`, `(..., F)` (TF2 models.py:51)."""
        return torch.cat([self.stoch, self.deter], -1)

    def map(self, function: Callable[[Tensor], Tensor]) -> "State":
        """Apply a function to each of the four tensors."""
        return State(*(function(x) for x in self))


def stack(states: list[State], dim: int) -> State:
    """Join states along a new dimension."""
    return State(*(torch.stack(parts, dim) for parts in zip(*states, strict=True)))


class RSSM(nn.Module):
    """The latent dynamics: one step without an observation or with one, and a loop over time of each."""

    def __init__(self, action: int, embed: int, stoch: int, deter: int, hidden: int):
        super().__init__()
        self.stoch, self.deter = stoch, deter
        self.gru_input = linear(stoch + action, hidden)
        self.gru = nn.GRUCell(hidden, deter)  # Keras' GRU with `reset_after=True`
        self.prior_hidden = linear(deter, hidden)
        self.prior_out = linear(hidden, 2 * stoch)
        self.posterior_hidden = linear(deter + embed, hidden)
        self.posterior_out = linear(hidden, 2 * stoch)
        nn.init.xavier_uniform_(self.gru.weight_ih)
        nn.init.orthogonal_(self.gru.weight_hh)
        nn.init.zeros_(self.gru.bias_ih)
        nn.init.zeros_(self.gru.bias_hh)

    def initial(self, n: int) -> State:
        """Return the state before any observation: zeros, `(n, .)`."""
        zeros = self.gru_input.weight.new_zeros
        return State(zeros(n, self.stoch), zeros(n, self.stoch), zeros(n, self.stoch), zeros(n, self.deter))

    def imagine_step(
        self, prev: State, action: Float[Tensor, "N A"], noise: Float[Tensor, "N S"] | None = None
    ) -> State:
        """Transition model: return the prior `(N, .)` after an action `(N, A)`; without noise, `stoch` is the mean."""
        x = F.elu(self.gru_input(torch.cat([prev.stoch, action], -1)))  # (N, hidden)
        deter = self.gru(x, prev.deter)  # (N, D)
        return make_state(self.prior_out(F.elu(self.prior_hidden(deter))), deter, noise)

    def observe_step(
        self,
        prev: State,
        action: Float[Tensor, "N A"],
        embed: Float[Tensor, "N E"],
        noise: Float[Tensor, "N S"],
    ) -> tuple[State, State]:
        """Representation model: return posterior and prior `(N, .)` for an action `(N, A)` and embedding `(N, E)`."""
        prior = self.imagine_step(prev, action)  # its sample is not needed
        x = F.elu(self.posterior_hidden(torch.cat([prior.deter, embed], -1)))  # (N, hidden)
        return make_state(self.posterior_out(x), prior.deter, noise), prior

    def observe(
        self,
        embed: Float[Tensor, "B T E"],
        action: Float[Tensor, "B T A"],
        is_first: Bool[Tensor, "B T"],
        noise: Float[Tensor, "B T S"],
        state: State | None = None,
    ) -> tuple[State, State]:
        """Return posteriors and priors `(B, T, .)` for embeddings and the actions that led to them.

        The filter starts from `state` `(B, .)`, by default zeros, and again from zeros wherever `is_first`.
        """
        state = self.initial(len(embed)) if state is None else state
        keep = (~is_first).unsqueeze(-1)  # (B, T, 1)
        posteriors: list[State] = []
        priors: list[State] = []
        for t in range(embed.shape[1]):
            state = State(*(x * keep[:, t] for x in state))
            state, prior = self.observe_step(state, action[:, t], embed[:, t], noise[:, t])
            posteriors.append(state)
            priors.append(prior)
        return stack(posteriors, dim=1), stack(priors, dim=1)

    def imagine(
        self,
        policy: Callable[[Tensor, Tensor], Tensor],
        start: State,
        action_noise: Float[Tensor, "H N A"],
        state_noise: Float[Tensor, "H N S"],
    ) -> State:
        """Follow a policy `(feat, noise) -> action` for H steps from `start` `(N, .)` (paper, Section 3).

        Noise is `(H, N, A)` and `(H, N, S)`. Returns the states AFTER each action, `(H, N, .)`, without the start
        (TF2 dreamer.py:270-281). Gradients flow from later states through the dynamics into the actions, and so into
        the policy. What the policy reads is detached (TF2 dreamer.py:274).
        """
        state = start
        states: list[State] = []
        for noise_a, noise_s in zip(action_noise, state_noise, strict=True):
            action = policy(state.feat.detach(), noise_a)  # (N, A)
            state = self.imagine_step(state, action, noise_s)
            states.append(state)
        return stack(states, dim=0)


def make_state(
    out: Float[Tensor, "*N S2"], deter: Float[Tensor, "*N D"], noise: Float[Tensor, "*N S"] | None
) -> State:
    """Make a state from a layer's output `(..., 2 S)`, sampled with `noise` `(..., S)`, or at its mean."""
    mean, raw = out.float().chunk(2, -1)
    std = F.softplus(raw) + MIN_STD
    return State(mean, std, mean if noise is None else mean + std * noise, deter)


def given(feat: Tensor, action: Tensor) -> Tensor:
    """A policy for `RSSM.imagine` that repeats recorded actions: pass them as `action_noise`."""
    del feat
    return action
