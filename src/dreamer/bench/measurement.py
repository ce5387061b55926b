"""Time repeated calls, and reduce their times to one measurement: median, quartiles, and a floor."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Unit = Literal["s", "bytes", "frames/s", "TFLOP/s", "times"]
BUDGET, MOST_ROUNDS = 0.2, 10_000
"""Seconds for which short calls are repeated, and how often at most; long ones as `Timer.repeats` says."""


@dataclass(frozen=True)
class Measurement:
    """The median of `count` values and their quartiles `low` and `high`, in `unit`.

    `precision` is empty where it does not matter. `floor` is the least time, in seconds, for the counted
    operations `flops`; it is None where none were counted.
    """

    group: str
    name: str
    precision: str
    unit: Unit
    median: float
    low: float
    high: float
    count: int
    floor: float | None = None
    flops: int = 0

    @property
    def title(self) -> str:
        """Group and precision: the heading in the table, and with the name what identifies a measurement."""
        return f"{self.group}, {self.precision}" if self.precision else self.group


@dataclass(frozen=True)
class Timer:
    """Measures on one device in one precision, each call at least `repeats` times.

    `flops_per_s` is the speed of large matrix products there; without it there are no floors.
    """

    device: torch.device
    repeats: int = 1
    precision: str = ""
    flops_per_s: float | None = None

    def measure(self, group: str, name: str, call: Callable[[], object], flops: int = 0) -> Measurement:
        """Time a call."""
        return self.summary(group, name, self.alternate({"": call})[""], flops=flops)

    def alternate(
        self, calls: Mapping[str, Callable[[], object]], budget: float | None = None
    ) -> dict[str, list[float]]:
        """Return the seconds of single calls, each call once in every round, after a warm-up of each.

        There are `repeats` rounds, and more until `budget` seconds are spent. If the machine is slower for a while,
        that affects all calls alike.
        """
        for call in calls.values():
            self._seconds(call)  # it allocates memory and chooses kernels
        times: dict[str, list[float]] = {name: [] for name in calls}
        spent, rounds = 0.0, 0
        while rounds < self.repeats or (spent < (budget or BUDGET) and rounds < MOST_ROUNDS):
            for name, call in calls.items():
                times[name].append(self._seconds(call))
                spent += times[name][-1]
            rounds += 1
        return times

    def _seconds(self, call: Callable[[], object]) -> float:
        """Seconds of one call; on a GPU, until the GPU has finished it."""
        wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        call()
        wait()
        return time.perf_counter() - start

    def summary(
        self, group: str, name: str, values: Sequence[float], unit: Unit = "s", flops: int = 0
    ) -> Measurement:
        """Reduce values to a measurement."""
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        floor = flops / self.flops_per_s if flops and self.flops_per_s else None
        return Measurement(group, name, self.precision, unit, median, low, high, len(values), floor, flops)


def seconds_per_call(call: Callable[[], object], device: torch.device, budget: float = 2.0) -> float:
    """Return the median seconds of a call, repeated for `budget` seconds after a warm-up."""
    return statistics.median(Timer(device).alternate({"": call}, budget)[""])
