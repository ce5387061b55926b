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
from dreamer.world_model.over_time import Layer, linear_over_time, over_time
from dreamer.world_model.state import State, stack


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


def gated(from_input: Tensor, from_memory: Tensor, h: Tensor) -> Tensor:
    """The new memory `(..., D)`, from what both layers of a GRU give, `(..., 3 D)`, and the memory before."""
    xr, xz, xn = from_input.chunk(3, -1)
    hr, hz, hn = from_memory.chunk(3, -1)
    reset, update = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    candidate = torch.tanh(xn + reset * hn)
    return torch.lerp(candidate, h.to(candidate.dtype), update)


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

    def initial(self, *batch: int) -> State:
        """The state before any observation: all zeros, `(*batch, .)`."""
        zeros = self.gru_input.weight.new_zeros
        stoch, deter = zeros(*batch, self.stoch), zeros(*batch, self.deter)
        return State(stoch, stoch, stoch, deter)

    def over_time(self, learns: bool = True) -> "Steps":
        """Single steps for one loop over time; with `learns` off they only pass gradients on."""
        return Steps(self, learns)

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
        step = self.over_time()
        state = self.initial(len(embed)) if state is None else state
        from_action, from_embed = self.action_part(action), self.embed_part(embed)
        keep = None if is_first is None else 1 - is_first.to(from_action.dtype).unsqueeze(-1)
        states = []
        for t in range(embed.shape[1]):
            if keep is not None:
                state = state.map(lambda x, k=keep[:, t]: x * k)
            state = step.posterior(step.memory(state, from_action[:, t]), from_embed[:, t], noise[:, t])
            states.append(state)
        posterior = stack(states, dim=1)
        return posterior, self.prior(posterior.deter)

    def observe_step(self, state: State, action: Tensor, embed: Tensor, noise: Tensor) -> State:
        """One step of the filter: the posterior `(B, .)` given action `(B, A)` and embedding `(B, E)`."""
        step = self.over_time()
        return step.posterior(step.memory(state, self.action_part(action)), self.embed_part(embed), noise)

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
        mean, raw = out.float().chunk(2, -1)
        std = F.softplus(raw) + self.min_std
        stoch = mean if noise is None else mean + std * noise
        return State(mean, std, stoch, deter)

    def action_part(self, action: Tensor) -> Tensor:
        """What the action adds to the GRU's input layer; for all steps at once, as it needs no state."""
        return F.linear(action, self.gru_input.weight[:, self.stoch :], self.gru_input.bias)

    def embed_part(self, embed: Tensor) -> Tensor:
        """What the embedding adds to the posterior's hidden layer; likewise for all steps at once."""
        return F.linear(embed, self.posterior_hidden.weight[:, self.deter :], self.posterior_hidden.bias)


class Steps:
    """One step of filter or dream after the other, with an RSSM's layers prepared for one loop over time."""

    def __init__(self, rssm: RSSM, learns: bool):
        def layer(of: nn.Linear) -> Layer:
            return linear_over_time(of, learns)

        def own(weight: Tensor) -> Tensor:
            return weight if learns else weight.detach()

        self.rssm = rssm
        from_stoch, from_action = rssm.gru_input.weight.tensor_split([rssm.stoch], dim=1)
        self.from_stoch = over_time(own(from_stoch))
        self.from_action = over_time(own(from_action), own(rssm.gru_input.bias))
        self.from_input, self.from_memory = layer(rssm.gru.input), layer(rssm.gru.recurrent)
        self.prior_hidden, self.prior_out = layer(rssm.prior_hidden), layer(rssm.prior_out)
        self.posterior_hidden = over_time(own(rssm.posterior_hidden.weight[:, : rssm.deter]))
        self.posterior_out = layer(rssm.posterior_out)

    def memory(self, state: State, from_action: Tensor) -> Tensor:
        """The memory `(B, D)` after a state and what the action adds to the GRU's input, `(B, hidden)`."""
        x = F.elu(self.from_stoch(state.stoch) + from_action)
        return gated(self.from_input(x), self.from_memory(state.deter), state.deter)

    def posterior(self, deter: Tensor, from_embed: Tensor, noise: Tensor) -> State:
        """p(s_t | h_t, o_t) for a memory and what the embedding adds to the hidden layer, `(B, hidden)`."""
        hidden = F.elu(self.posterior_hidden(deter) + from_embed)
        return self.rssm.gaussian(self.posterior_out(hidden), deter, noise)

    def imagine_step(self, state: State, action: Tensor, noise: Tensor) -> State:
        """The prior `(B, .)` after `action` `(B, A)`, with `noise` `(B, S)`."""
        deter = self.memory(state, self.from_action(action))
        out = self.prior_out(F.elu(self.prior_hidden(deter)))
        return self.rssm.gaussian(out, deter, noise)
