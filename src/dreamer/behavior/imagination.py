"""Where imagination starts, and its randomness (paper, Section 3, Algorithm 1)."""

import torch
from torch import Tensor

from dreamer.behavior.actor import Actor
from dreamer.types import Batch, Noise
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel


def imagination_starts(model: WorldModel, posterior: State, batch: Batch) -> tuple[State, Tensor]:
    """Start a trajectory at every posterior state `(B, T, .)`, detached: `(N, .)`, N = B T, and weights `(N,)`.

    With a discount head the last step of a sequence is left out, as it may be terminal (TF2 dreamer.py:180-181), and
    N = B (T - 1). A row of a batch may hold several episodes in succession, each beginning where `is_first` holds: the
    state before such a place ends an episode, and its weight is its discount, 0 where the environment terminated.
    """
    weight = torch.ones_like(batch["discount"])  # (B, T)
    if model.pcont is not None:
        weight[:, :-1] = torch.where(batch["is_first"][:, 1:], batch["discount"][:, :-1], 1.0)
        posterior, weight = posterior.map(lambda x: x[:, :-1]), weight[:, :-1]
    return posterior.map(lambda x: x.detach().flatten(0, 1)), weight.flatten()


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
