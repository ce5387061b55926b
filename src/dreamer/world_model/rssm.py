"""The recurrent state-space model: latent dynamics (paper, Section 4 and Eq. 9; TF2 models.py:10-81).

    memory          h_t = GRU(ELU(W [s_{t-1}, a_{t-1}]), h_{t-1})
    transition      q(s_t | h_t)         = N(mean, std),  from ELU(W h_t)            "prior"
    representation  p(s_t | h_t, e_t)    = N(mean, std),  from ELU(W [h_t, e_t])     "posterior"

with std = softplus(raw) + 0.1. Shapes: B batch, T time, A action, E embedding, S stoch, D deter. All noise is
an argument: a sample is mean + std * noise, independent for every row.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.world_model.dense import linear
from dreamer.world_model.elementwise import PLAIN, gated
from dreamer.world_model.over_time import Layer, linear_over_time, over_time
from dreamer.world_model.state import State, stack

MIN_STD = 0.1
"""Smallest standard deviation of prior and posterior."""


class GRU(nn.Module):
    """The gated unit of Keras with `reset_after=True`, which is PyTorch's `GRUCell` (gate order r, z, n)."""

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.input = linear(inputs, 3 * size)
        self.recurrent = linear(size, 3 * size)
        nn.init.orthogonal_(self.recurrent.weight)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Input `(..., inputs)` and memory `(..., size)` -> the new memory."""
        return gated(self.input(x), self.recurrent(h), h)


class RSSM(nn.Module):
    """The weights, and the filter (`observe`) and the dream (`imagine`) over whole sequences."""

    def __init__(self, action: int, embed: int, stoch: int, deter: int, hidden: int, min_std: float):
        super().__init__()
        self.stoch, self.deter, self.min_std = stoch, deter, min_std
        self.gru_input = linear(stoch + action, hidden)
        self.gru = GRU(hidden, deter)
        self.prior_hidden = linear(deter, hidden)
        self.prior_out = linear(hidden, 2 * stoch)
        self.posterior_hidden = linear(deter + embed, hidden)
        self.posterior_out = linear(hidden, 2 * stoch)
        self.elementwise = PLAIN

    def initial(self, *batch: int) -> State:
        """The state before any observation: all zeros, `(*batch, .)`."""
        zeros = self.gru_input.weight.new_zeros
        stoch, deter = zeros(*batch, self.stoch), zeros(*batch, self.deter)
        return State(stoch, stoch, stoch, deter)

    def over_time(self, learns: bool = True) -> "Dream":
        """Single steps of the dream for one loop over time; with `learns` off they only pass gradients on."""
        return Dream(self, learns)

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        noise: Tensor,
        state: State | None = None,
        is_first: Tensor | None = None,
    ) -> tuple[State, State]:
        """Filter embeddings `(B, T, E)`, the actions that led to them `(B, T, A)`, with noise `(B, T, S)`.

        Starts from `state` (zeros if none) and again from zeros wherever `is_first` `(B, T)` holds. Returns
        posterior and prior, `(B, T, .)`. The prior carries its mean as its sample: no sample of it is read.
        """
        step = Filter(self)
        state = self.initial(len(embed)) if state is None else state
        from_action, from_embed = self.action_part(action), self.embed_part(embed)
        keep = None if is_first is None else 1 - is_first.to(from_action.dtype).unsqueeze(-1)
        # Backward, `unbind` joins the gradients of all steps at once; `x[:, t]` would add them up one by one.
        inputs = zip(from_action.unbind(1), from_embed.unbind(1), noise.unbind(1), strict=True)
        states = []
        for t, of_step in enumerate(inputs):
            if keep is not None:  # of the state before, mean and deviation are not read
                state = state._replace(stoch=state.stoch * keep[:, t], deter=state.deter * keep[:, t])
            state = step.observe_step(state, *of_step)
            states.append(state)
        posterior = stack(states, dim=1)
        return posterior, self.prior(posterior.deter)

    def observe_step(self, state: State, action: Tensor, embed: Tensor, noise: Tensor) -> State:
        """One step of the filter: the posterior `(B, .)` given action `(B, A)` and embedding `(B, E)`."""
        return Filter(self).observe_step(state, self.action_part(action), self.embed_part(embed), noise)

    def imagine_step(self, state: State, action: Tensor, noise: Tensor) -> State:
        """One step of the dream: the prior `(B, .)` after `action` `(B, A)`, with `noise` `(B, S)`."""
        return self.over_time().imagine_step(state, action, noise)

    def imagine(self, state: State, action: Tensor, noise: Tensor) -> State:
        """Open-loop prediction under given actions `(B, T, A)` with noise `(B, T, S)`: `(B, T, .)`."""
        step, states = self.over_time(), []
        for t in range(action.shape[1]):
            state = step.imagine_step(state, action[:, t], noise[:, t])
            states.append(state)
        return stack(states, dim=1)

    def prior(self, deter: Tensor, noise: Tensor | None = None) -> State:
        """q(s_t | h_t) for memories `(..., D)`; without noise the sample is the mean."""
        return self.gaussian(self.prior_out(F.elu(self.prior_hidden(deter))), deter, noise)

    def gaussian(self, out: Tensor, deter: Tensor, noise: Tensor | None) -> State:
        """The state with mean and deviation from a layer's output `(..., 2 S)`, sampled with `noise`."""
        return State(*self.elementwise.gaussian(out, noise, self.min_std), deter)

    def action_part(self, action: Tensor) -> Tensor:
        """What the action adds to the GRU's input layer; for all steps at once, as it needs no state."""
        return F.linear(action, self.gru_input.weight[:, self.stoch :], self.gru_input.bias)

    def embed_part(self, embed: Tensor) -> Tensor:
        """What the embedding adds to the posterior's hidden layer; likewise for all steps at once."""
        return F.linear(embed, self.posterior_hidden.weight[:, self.deter :], self.posterior_hidden.bias)


class Steps:
    """What filter and dream share: an RSSM's layers prepared for one loop over time.

    With `learns` off they only pass gradients on.
    """

    def __init__(self, rssm: RSSM, learns: bool = True):
        self.rssm, self.learns = rssm, learns
        self.from_input, self.from_memory = self.layer(rssm.gru.input), self.layer(rssm.gru.recurrent)

    def layer(self, of: nn.Linear) -> Layer:
        """A layer of the loop."""
        return linear_over_time(of, self.learns)

    def memory(self, x: Tensor, deter: Tensor) -> Tensor:
        """The memory `(B, D)` after the GRU's input `(B, hidden)` and the memory before."""
        return self.rssm.elementwise.gated(self.from_input(x), self.from_memory(deter), deter)


class Filter(Steps):
    """One step of the filter after the other."""

    def __init__(self, rssm: RSSM):
        super().__init__(rssm)
        self.from_stoch = over_time(rssm.gru_input.weight[:, : rssm.stoch])
        self.posterior_hidden = over_time(rssm.posterior_hidden.weight[:, : rssm.deter])
        self.posterior_out = self.layer(rssm.posterior_out)

    def observe_step(self, state: State, from_action: Tensor, from_embed: Tensor, noise: Tensor) -> State:
        """The posterior `(B, .)`, given what action and embedding add to their layers, both `(B, hidden)`."""
        elu_of_sum = self.rssm.elementwise.elu_of_sum
        deter = self.memory(elu_of_sum(self.from_stoch(state.stoch), from_action), state.deter)
        hidden = elu_of_sum(self.posterior_hidden(deter), from_embed)
        return self.rssm.gaussian(self.posterior_out(hidden), deter, noise)


class Dream(Steps):
    """One step of the dream after the other."""

    def __init__(self, rssm: RSSM, learns: bool = True):
        super().__init__(rssm, learns)
        self.gru_input = self.layer(rssm.gru_input)
        self.prior_hidden, self.prior_out = self.layer(rssm.prior_hidden), self.layer(rssm.prior_out)

    def imagine_step(self, state: State, action: Tensor, noise: Tensor) -> State:
        """The prior `(B, .)` after `action` `(B, A)`, with `noise` `(B, S)`.

        Several actions `(B, J, A)` may be tried in each state `(B, 1, .)`.
        """
        stoch = state.stoch.expand(*action.shape[:-1], -1)
        deter = self.memory(F.elu(self.gru_input(torch.cat([stoch, action], -1))), state.deter)
        out = self.prior_out(F.elu(self.prior_hidden(deter)))
        return self.rssm.gaussian(out, deter, noise)
