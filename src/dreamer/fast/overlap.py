"""Behavior learning at the same time as the world model's backward pass; see `FastOptimizers`."""

from collections.abc import Callable

from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.fast.optimizers import FastOptimizers
from dreamer.types import Batch, Metrics, Noise, Phase
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel


class FastWorldModel(WorldModel):
    """A world model that calls `begin` with its losses as soon as they are computed."""

    begin: Callable[[dict[str, Tensor]], None] | None = None

    def losses(self, batch: Batch, noise: Tensor) -> tuple[dict[str, Tensor], State, Metrics]:
        losses, posterior, metrics = super().losses(batch, noise)
        if self.begin is not None:
            self.begin(losses)
        return losses, posterior, metrics


def _begin_early(algorithm: "Dreamer | NoValue", early: bool) -> None:
    model, optimizers = algorithm.world_model, algorithm.optimizers
    assert isinstance(model, FastWorldModel)
    assert isinstance(optimizers, FastOptimizers)
    model.begin = optimizers.begin if early else None


class FastDreamer(Dreamer):
    """A Dreamer that begins its model's gradient before behavior learning, in phases that have any."""

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        _begin_early(self, phase != "model")
        return super().update(batch, noise, phase)


class FastNoValue(NoValue):
    """A no-value agent that begins its model's gradient before behavior learning, in phases that have any."""

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        _begin_early(self, phase == "all")
        return super().update(batch, noise, phase)
