"""Behavior learning in imagination: where trajectories start, their noise, and value estimates (paper, Section 3).

The loop that follows the actor is `RSSM.imagine`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dreamer.behavior.actor import Actor
from dreamer.types import Batch, Noise
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel


def imagination_starts(model: WorldModel, posterior: State, batch: Batch) -> tuple[State, Float[Tensor, "N"]]:
    """Return the start states `(N, .)`: all posteriors `(B, T, .)`, detached, N = B T. And `alive` `(N,)`.

    `alive` is the weight of each trajectory: 1. With `--pcont` two things differ:

    - The last step of a sequence starts no trajectory, because it may be terminal, so N = B (T - 1) (TF2
      dreamer.py:180-181).
    - A sequence may hold several episodes. A trajectory that starts at the terminal state of one has `alive` 0.
    """
    alive = torch.ones_like(batch["discount"])  # (B, T)
    if model.pcont is not None:
        alive = torch.where(batch["is_first"][:, 1:], batch["discount"][:, :-1], 1.0)  # (B, T - 1)
        posterior = posterior.map(lambda x: x[:, :-1])
    return posterior.map(lambda x: x.detach().flatten(0, 1)), alive.flatten()


def draw_noise(
    model: WorldModel, actor: Actor, horizon: int, rows: int, length: int, generator: torch.Generator
) -> Noise:
    """Draw the noise of one update on B = `rows` sequences of T = `length` steps, independent in every row."""
    starts = rows * (length if model.pcont is None else length - 1)  # N, as in `imagination_starts`
    stoch, device = model.rssm.stoch, generator.device
    return {
        "filter": torch.randn(rows, length, stoch, generator=generator, device=device),  # (B, T, S)
        "action": actor.draw_noise(horizon, starts, generator=generator),  # (H, N, A)
        "state": torch.randn(horizon, starts, stoch, generator=generator, device=device),  # (H, N, S)
    }


def lambda_return(
    reward: Float[Tensor, "steps *N"],
    value: Float[Tensor, "steps *N"],
    discount: Float[Tensor, "steps *N"],
    bootstrap: Float[Tensor, "*N"],
    lambda_: float,
) -> Float[Tensor, "steps *N"]:
    """Return value estimates V_lambda (Eq. 6) of the imagined states 1 .. H-1, by a recursion from the last one:

        R_i = r_i + gamma_i ((1 - lambda) v_{i+1} + lambda R_{i+1}),    R_H = v_H = bootstrap

    With a constant gamma it is Eq. 6, where V_k(i) = r_i + gamma r_{i+1} + ... + gamma^k v_{i+k} is Eq. 5. Every V_k
    that would look past state H equals V_{H-i}, so these terms add up to the last one:

        R_i = (1 - lambda) sum_{k=1}^{H-i-1} lambda^{k-1} V_k(i) + lambda^{H-i-1} V_{H-i}(i)

    `reward`, `value` and `discount` are `(H - 1, ...)`: the first row belongs to state 1, the last to state H - 1.
    `bootstrap` `(...)` is the value of state H. Returns `(H - 1, ...)`. With lambda = 1, a bootstrap
    of zero and discounts of 1 it is the sum of rewards of Eq. 4.
    """
    next_value = torch.cat([value[1:], bootstrap.unsqueeze(0)])
    returns = [bootstrap]
    for i in reversed(range(len(reward))):
        returns.append(reward[i] + discount[i] * ((1 - lambda_) * next_value[i] + lambda_ * returns[-1]))
    return torch.stack(returns[:0:-1])  # from the first state on, without the bootstrap


def discount_weights(discount: Float[Tensor, "steps *N"]) -> Float[Tensor, "steps *N"]:
    """Return the cumulative discount before each imagined state: 1, gamma_1, gamma_1 gamma_2, ... `(H - 1, ...)`.

    The gradient is stopped, because the actor must not gain by changing how much a state counts (TF2 dreamer.py:190).
    """
    discount = discount.detach()
    return torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0)
