"""The RSSM's loops over time, without the matrix products that need no recurrent state.

The action's part of the GRU's input layer, the embedding's part of the posterior's hidden layer, and the prior are
computed for all steps at once. Only products that need the result of the step before stay inside the loops.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamer.behavior.actor import Actor
from dreamer.fast.imagination import imagine
from dreamer.world_model.rssm import RSSM, State, make_state, stack


class FastRSSM(RSSM):
    """An RSSM whose `observe` takes fewer, larger products."""

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, noise: Tensor, state: State | None = None
    ) -> tuple[State, State]:
        state = self.initial(len(embed)) if state is None else state
        w_stoch, w_action = self.gru_input.weight.split([self.stoch, action.shape[-1]], 1)
        w_deter, w_embed = self.posterior_hidden.weight.split([self.deter, embed.shape[-1]], 1)
        from_action = F.linear(action, w_action, self.gru_input.bias)  # (B, T, hidden)
        from_embed = F.linear(embed, w_embed, self.posterior_hidden.bias)  # (B, T, hidden)
        # Cast once: autocast keeps the casts of whole parameters only, and would cast these at every step.
        w_stoch, w_deter = w_stoch.to(from_action.dtype), w_deter.to(from_embed.dtype)
        keep = (~is_first).unsqueeze(-1).to(from_action.dtype)
        # Backward, `unbind` joins the gradients of all steps at once; `x[:, t]` would add them up one by one.
        inputs = (from_action, from_embed, noise, keep)
        states = []
        for from_action_t, from_embed_t, noise_t, keep_t in zip(*(x.unbind(1) for x in inputs), strict=True):
            stoch, deter = state.stoch * keep_t, state.deter * keep_t
            deter = self.gru(F.elu(F.linear(stoch, w_stoch) + from_action_t), deter)
            x = F.elu(F.linear(deter, w_deter) + from_embed_t)
            state = make_state(self.posterior_out(x), deter, noise_t)
            states.append(state)
        posterior = stack(states, dim=1)
        prior = self.prior_out(F.elu(self.prior_hidden(posterior.deter)))
        return posterior, make_state(prior, posterior.deter, None)

    def imagine(
        self,
        policy: Callable[[Tensor, Tensor], Tensor],
        start: State,
        action_noise: Tensor,
        state_noise: Tensor,
    ) -> State:
        actor = getattr(policy, "__self__", None)
        on_cpu = start.deter.device.type == "cpu"
        if isinstance(actor, Actor) and not actor.action.discrete and on_cpu and torch.is_grad_enabled():
            return imagine(self, actor, start, action_noise, state_noise)
        return super().imagine(policy, start, action_noise, state_noise)
