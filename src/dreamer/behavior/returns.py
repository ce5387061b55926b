"""Value estimates of imagined states (paper, Section 3, Eq. 4-6; TF2 tools.py:316-338)."""

import torch
from torch import Tensor


def lambda_return(
    reward: Tensor, value: Tensor, discount: Tensor, bootstrap: Tensor, lambda_: float
) -> Tensor:
    """Exponentially weighted average V_lambda of the k-step returns V_N^k, by one backward scan.

        R_t = r_t + gamma_t ((1 - lambda) v_{t+1} + lambda R_{t+1}),    R_T = v_T = bootstrap

    Multiplying it out gives Eq. 6: R_t = (1 - lambda) sum_{n=1}^{T-t-1} lambda^{n-1} V_n + lambda^{T-t-1} V_{T-t},
    where V_n = r_t + gamma r_{t+1} + ... + gamma^n v_{t+n} is Eq. 5. With lambda 1 and a zero bootstrap it is the
    plain sum of rewards, Eq. 4.

    `reward`, `value`, `discount` are `(T, ...)`, all of the same states, and `bootstrap` `(...)` is the value of the
    state after the last. Returns `(T, ...)`; `value[0]` is never used.
    """
    next_value = torch.cat([value[1:], bootstrap.unsqueeze(0)])
    returns = [bootstrap]
    for t in reversed(range(len(reward))):
        returns.append(reward[t] + discount[t] * ((1 - lambda_) * next_value[t] + lambda_ * returns[-1]))
    return torch.stack(returns[:0:-1])


def discount_weights(discount: Tensor) -> Tensor:
    """Probability that each imagined state is reached: 1, gamma_0, gamma_0 gamma_1, ... `(T, ...)`.

    The gradient is stopped: the weights say how much a state counts; the actor cannot gain by changing them
    (TF2 dreamer.py:190).
    """
    discount = discount.detach()
    return torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0)
