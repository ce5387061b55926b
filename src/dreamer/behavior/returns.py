"""Value estimates of imagined states (paper, Section 3, Eq. 4-6; TF2 tools.py:316-338)."""

import torch
from jaxtyping import Float
from torch import Tensor


def lambda_return(
    reward: Float[Tensor, "K *N"],
    value: Float[Tensor, "K *N"],
    discount: Float[Tensor, "K *N"],
    bootstrap: Float[Tensor, "*N"],
    lambda_: float,
) -> Float[Tensor, "K *N"]:
    """Value estimates V_lambda (Eq. 6), by one backward scan over imagined states 1 .. K:

        R_k = r_k + gamma_k ((1 - lambda) v_{k+1} + lambda R_{k+1}),    R_{K+1} = v_{K+1} = bootstrap

    This is Eq. 6 multiplied out. V_N^n(k) = r_k + gamma r_{k+1} + ... + gamma^n v_{k+n} is Eq. 5, and

        R_k = (1 - lambda) sum_{n=1}^{K-k} lambda^{n-1} V_N^n(k) + lambda^{K-k} V_N^{K+1-k}(k).

    With lambda = 1 and a bootstrap of zero it is the sum of rewards, Eq. 4.

    Row k of `reward`, `value` and `discount` `(K, ...)` belongs to imagined state k; `bootstrap` `(...)` is the value
    of state K + 1. Returns `(K, ...)`.
    """
    next_value = torch.cat([value[1:], bootstrap.unsqueeze(0)])
    returns = [bootstrap]
    for k in reversed(range(len(reward))):
        returns.append(reward[k] + discount[k] * ((1 - lambda_) * next_value[k] + lambda_ * returns[-1]))
    return torch.stack(returns[:0:-1])


def discount_weights(discount: Float[Tensor, "K *N"]) -> Float[Tensor, "K *N"]:
    """Cumulative discount before each imagined state: 1, gamma_1, gamma_1 gamma_2, ... `(K, ...)`.

    With a discount head it is the probability that the state is reached. The gradient is stopped: the weights say how
    much a state counts, and the actor cannot gain by changing them (TF2 dreamer.py:190).
    """
    discount = discount.detach()
    return torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0)
