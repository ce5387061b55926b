"""One measured figure, with its spread and its floor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from dreamer.bench.work import Roof, Work
from dreamer.results.timing import call_times

Unit = Literal["s", "frames/s", "bytes"]
ANY = "-"
"""Precision or path of a figure that does not depend on it."""
BUDGET = 0.2
"""Seconds over which short calls are repeated; long ones, until they have been repeated often enough."""


@dataclass(frozen=True)
class Variant:
    """Where and how something runs: `path` is the way in which a gradient step is executed."""

    device: str
    precision: str = ANY
    path: str = ANY


@dataclass(frozen=True)
class Figure:
    """The median of `count` measurements, and their quartiles `low` and `high`, all in `unit`.

    `floor`, in seconds, follows from the counted `flops` and `bytes`; None where nothing was counted.
    """

    group: str
    name: str
    variant: Variant
    unit: Unit
    median: float
    low: float
    high: float
    count: int
    floor: float | None = None
    flops: int = 0
    bytes: int = 0

    @property
    def key(self) -> tuple[str, str, Variant]:
        """What makes it the same figure in another report."""
        return self.group, self.name, self.variant


def figure_of(
    group: str, name: str, variant: Variant, unit: Unit, values: list[float], work: Work, roof: Roof | None
) -> Figure:
    """Summarise measurements; the floor is left out where there is no `roof` or no work."""
    low, median, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    floor = roof.floor(work) if roof is not None and work != Work() else None
    return Figure(group, name, variant, unit, median, low, high, len(values), floor, work.flops, work.bytes)


@dataclass(frozen=True)
class Stopwatch:
    """Takes figures of one variant, each of at least `repeats` calls after a warm-up."""

    variant: Variant
    roof: Roof | None = None
    repeats: int = 10

    def measure(
        self,
        group: str,
        name: str,
        call: Callable[..., object],
        prepare: Callable[[], tuple[Any, ...]] = tuple,
        work: Work | None = None,
    ) -> Figure:
        """Time `call`, whose arguments `prepare` makes without being timed."""
        device = torch.device(self.variant.device)
        times = call_times(call, device, BUDGET, self.repeats, prepare)
        return figure_of(group, name, self.variant, "s", times, work or Work(), self.roof)
