"""The lambda-return V_lambda (paper, Eq. 6; TF2 tools.py:316-338)."""

import torch
from torch import Tensor


def lambda_return(
    reward: Tensor, value: Tensor, discount: Tensor, bootstrap: Tensor, lambda_: float
) -> Tensor:
    """Exponentially weighted average of k-step returns, by one backward scan.

        R_t = r_t + gamma_t ((1 - lambda) v_{t+1} + lambda R_{t+1}),    R_T = v_T = bootstrap

    `reward`, `value`, `discount` are `(T, ...)` on the same states, `bootstrap` `(...)` is the value of the
    state after the last: returns `(T, ...)`. `value[0]` is never used.
    """
    next_value = torch.cat([value[1:], bootstrap.unsqueeze(0)])
    one_step = reward + discount * (1 - lambda_) * next_value
    decay = discount * lambda_
    returns, last = [], bootstrap
    for one_step_t, decay_t in zip(reversed(one_step.unbind()), reversed(decay.unbind()), strict=True):
        last = one_step_t + decay_t * last
        returns.append(last)
    return torch.stack(returns[::-1])


def discount_weights(discount: Tensor) -> Tensor:
    """How likely each imagined state is still to be reached: 1, gamma_0, gamma_0 gamma_1, ... `(T, ...)`.

    The gradient is stopped: the weights say how much a state counts, they are no way to change it
    (TF2 dreamer.py:190).
    """
    discount = discount.detach()
    return torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0)
