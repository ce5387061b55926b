"""A behaviour on a tiny world model, with fixed starts and noise."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.behavior.behavior import Behavior, ImaginationNoise
from dreamer.behavior.imagine import imagine
from dreamer.config import Config, with_options
from dreamer.world_model.state import State
from dreamer.world_model.world_model import WorldModel
from world_model.small import SIZES, STATE_SPEC


class Parts(NamedTuple):
    """Everything that the losses of a behaviour are a function of."""

    model: WorldModel
    behavior: Behavior
    start: State
    noise: ImaginationNoise


def parts(horizon: int = 4, starts: int = 5, double: bool = False) -> Parts:
    """A world model and a behaviour with random weights; `double` in float64."""
    config = with_options(Config(), SIZES | {"horizon": horizon})
    dtype = torch.float64 if double else torch.float32
    model = WorldModel(STATE_SPEC, config.model).to(dtype)
    behavior = Behavior(model, config.model, config.behavior).to(dtype)
    sizes = (SIZES["stoch"], SIZES["stoch"], SIZES["stoch"], SIZES["deter"])
    start = State(*(torch.randn(starts, size, dtype=dtype) for size in sizes))
    action = torch.randn(horizon, starts, STATE_SPEC.action.size, dtype=dtype)
    state = torch.randn(horizon, starts, SIZES["stoch"], dtype=dtype)
    return Parts(model, behavior, start, ImaginationNoise(action, state))


def imagined(tiny: Parts) -> Tensor:
    """Features of the dreams, `(H, N, F)`."""
    return imagine(tiny.model.rssm, tiny.behavior.actor, tiny.start, *tiny.noise).feat


def losses(tiny: Parts) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Actor loss, value loss and metrics."""
    return tiny.behavior.losses(tiny.model, tiny.start, tiny.noise)
