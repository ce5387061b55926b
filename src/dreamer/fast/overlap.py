"""Behavior learning beside the world model's backward pass; see `FastOptimizers`."""

from collections.abc import Callable

from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.fast.optimizers import FastOptimizers
from dreamer.types import Batch, Metrics, Noise, Phase
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel


class FastWorldModel(WorldModel):
    """A world model that hands its losses on as soon as it has them."""

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
    """A Dreamer whose model's gradient is begun early, if behavior learning follows."""

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        _begin_early(self, phase != "model")
        return super().update(batch, noise, phase)


class FastNoValue(NoValue):
    """A no-value agent whose model's gradient is begun early, if behavior learning follows."""

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        _begin_early(self, phase == "all")
        return super().update(batch, noise, phase)
