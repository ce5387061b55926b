"""Where imagination starts, and its randomness (paper, Section 3, Algorithm 1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from dreamer.behavior.actor import Actor
from dreamer.types import Batch, Noise
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel


def imagination_starts(model: WorldModel, posterior: State, batch: Batch) -> tuple[State, Float[Tensor, "N"]]:
    """Start a trajectory at every posterior state `(B, T, .)`, detached: `(N, .)`, N = B T; `alive` `(N,)` is 1.

    Only with a discount head (`--pcont`) two things differ. The last step of a sequence starts no trajectory, as it may
    be terminal, and N = B (T - 1) (TF2 dreamer.py:180-181). And `alive` is 0 where the environment terminated inside a
    row: a row may hold several episodes, and where the next one begins, the state before has ended its own.
    """
    alive = torch.ones_like(batch["discount"])  # (B, T)
    if model.pcont is not None:
        alive = torch.where(batch["is_first"][:, 1:], batch["discount"][:, :-1], 1.0)  # (B, T - 1)
        posterior = posterior.map(lambda x: x[:, :-1])
    return posterior.map(lambda x: x.detach().flatten(0, 1)), alive.flatten()


def draw_noise(
    model: WorldModel, actor: Actor, horizon: int, rows: int, length: int, generator: torch.Generator
) -> Noise:
    """Draw the noise of one update on `rows` sequences of `length` steps, independent in every row."""
    starts = rows * (length if model.pcont is None else length - 1)
    stoch = model.rssm.stoch
    return {
        "filter": torch.randn(rows, length, stoch, generator=generator, device=generator.device),
        "action": actor.draw_noise(horizon, starts, generator=generator),
        "state": torch.randn(horizon, starts, stoch, generator=generator, device=generator.device),
    }
