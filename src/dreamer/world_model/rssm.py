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
        xr, xz, xn = self.input(x).chunk(3, -1)
        hr, hz, hn = self.recurrent(h).chunk(3, -1)
        reset, update = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        candidate = torch.tanh(xn + reset * hn)
        return torch.lerp(candidate, h.to(candidate.dtype), update)


class RSSM(nn.Module):
    """Filter (`observe`) and dream (`imagine_step`) with one set of weights."""

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
        state = self.initial(len(embed)) if state is None else state
        from_action, from_embed = self._action_part(action), self._embed_part(embed)
        keep = None if is_first is None else 1 - is_first.to(from_action.dtype).unsqueeze(-1)
        steps = []
        for t in range(embed.shape[1]):
            if keep is not None:
                state = state.map(lambda x, k=keep[:, t]: x * k)
            deter = self._memory(state, from_action[:, t])
            state = self._posterior(deter, from_embed[:, t], noise[:, t])
            steps.append(state)
        posterior = stack(steps, dim=1)
        return posterior, self.prior(posterior.deter)

    def observe_step(self, state: State, action: Tensor, embed: Tensor, noise: Tensor) -> State:
        """One step of the filter: the posterior `(B, .)` given action `(B, A)` and embedding `(B, E)`."""
        deter = self._memory(state, self._action_part(action))
        return self._posterior(deter, self._embed_part(embed), noise)

    def imagine_step(self, state: State, action: Tensor, noise: Tensor) -> State:
        """One step of the dream: the prior `(B, .)` after `action` `(B, A)`, with `noise` `(B, S)`."""
        return self.prior(self._memory(state, self._action_part(action)), noise)

    def imagine(self, state: State, action: Tensor, noise: Tensor) -> State:
        """Open-loop prediction under given actions `(B, T, A)` with noise `(B, T, S)`: `(B, T, .)`."""
        steps = []
        for t in range(action.shape[1]):
            state = self.imagine_step(state, action[:, t], noise[:, t])
            steps.append(state)
        return stack(steps, dim=1)

    def prior(self, deter: Tensor, noise: Tensor | None = None) -> State:
        """q(s_t | h_t) for memories `(..., D)`; without noise the sample is the mean."""
        out = self.prior_out(F.elu(self.prior_hidden(deter)))
        return self._gaussian(out, deter, noise)

    def _action_part(self, action: Tensor) -> Tensor:
        """What the action adds to the GRU's input layer; for all steps at once, as it needs no state."""
        return F.linear(action, self.gru_input.weight[:, self.stoch :], self.gru_input.bias)

    def _embed_part(self, embed: Tensor) -> Tensor:
        """What the embedding adds to the posterior's hidden layer; likewise for all steps at once."""
        return F.linear(embed, self.posterior_hidden.weight[:, self.deter :], self.posterior_hidden.bias)

    def _memory(self, state: State, from_action: Tensor) -> Tensor:
        x = F.linear(state.stoch, self.gru_input.weight[:, : self.stoch]) + from_action
        return self.gru(F.elu(x), state.deter)

    def _posterior(self, deter: Tensor, from_embed: Tensor, noise: Tensor) -> State:
        x = F.linear(deter, self.posterior_hidden.weight[:, : self.deter]) + from_embed
        return self._gaussian(self.posterior_out(F.elu(x)), deter, noise)

    def _gaussian(self, out: Tensor, deter: Tensor, noise: Tensor | None) -> State:
        mean, raw = out.float().chunk(2, -1)
        std = F.softplus(raw) + self.min_std
        stoch = mean if noise is None else mean + std * noise
        return State(mean, std, stoch, deter)
