"""All measurements of one bench, which can be written as JSON, printed, and compared with an earlier report."""

import json
import os
import platform
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dreamer.bench.measurement import Measurement, Unit
from dreamer.config import Affects, options_affecting
from dreamer.errors import UserError
from dreamer.machine import cores, memory_bytes, processor, size
from dreamer.storage.atomic_file import atomic_file

COMPARED = options_affecting(Affects.EVERYTHING, Affects.SPEED)
"""Options in which two reports must agree to be compared."""
SCALES: dict[Unit, tuple[tuple[float, str], ...]] = {
    "s": ((1, " s"), (1e3, " ms"), (1e6, " us")),
    "TFLOP/s": ((1, " T/s"), (1e3, " G/s")),
    "frames/s": ((1, "/s"),),
    "times": ((1, " x"),),
}
"""Multiples of each unit, the largest first."""


@dataclass(frozen=True)
class Report:
    """The measurements, the machine they were made on, and the options of the run that was measured."""

    machine: dict[str, Any]
    options: dict[str, Any]
    measurements: list[Measurement]

    def write(self, path: Path) -> None:
        """Write JSON atomically. Raises `UserError` where the disk refuses."""
        with atomic_file(path) as file:
            file.write((json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` wrote. Raises `UserError` for anything else."""
        try:
            content = json.loads(path.read_text())
            measurements = [Measurement(**measurement) for measurement in content["measurements"]]
            return cls(content["machine"], content["options"], measurements)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is no report of `dreamer bench` ({error}): give another.") from error


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what a measurement depends on besides the options."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "processor": processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "memory": size(memory_bytes()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def check_same_options(report: Report, baseline: Report) -> None:
    """Raise `UserError` if the two reports are of runs that cannot be compared."""
    old, new = baseline.options, report.options
    differing = [name for name in sorted(COMPARED & old.keys() & new.keys()) if old[name] != new[name]]
    if differing:
        listed = ", ".join(f"{name} {old[name]!r} and {new[name]!r}" for name in differing[:5])
        raise UserError(f"The baseline measured another run ({listed}): give both the same options.")


def slowdowns(report: Report, baseline: Report) -> dict[Measurement, float]:
    """Return how many times worse each measurement is than in the baseline; below 1 is better."""
    before = {(m.title, m.name): m.median for m in baseline.measurements}
    both = [m for m in report.measurements if (m.title, m.name) in before]
    quotients = {m: m.median / before[m.title, m.name] for m in both}
    return {m: ratio if m.unit in ("s", "bytes") else 1 / ratio for m, ratio in quotients.items()}


def regression(ratios: dict[Measurement, float], tolerance: float) -> str:
    """Return a sentence that names the measurements worse by more than `tolerance`; empty if none are."""
    worse = sorted((m for m in ratios if ratios[m] > tolerance), key=lambda m: -ratios[m])
    named = "; ".join(f"{m.title}: {m.name} {ratios[m]:.2f} times" for m in worse)
    return f"Worse than the baseline by more than {tolerance:g} times: {named}." if worse else ""


# -- as text, in ASCII, at most 79 columns wide --------------------------------------------------------------


def heading(report: Report, baseline: Report | None) -> str:
    """Return the machines, and the names of the columns."""
    lines = []
    for title, of in (("machine", report), ("baseline", baseline)):
        if of is not None:
            words = ", ".join(f"{name} {value}" for name, value in of.machine.items())
            lines += textwrap.wrap(f"{title}: {words}", 79, subsequent_indent="  ")
    columns = ("", "median", "quartiles", "floor", "x floor", "x base" if baseline else "")
    return "\n".join([*lines, "", _columns(*columns)])


def row(m: Measurement, ratio: float | None = None) -> str:
    """Return a measurement as one line; `ratio` says how many times worse than the baseline it is."""
    spread = amount(m.unit, m.low, m.high) if m.count > 1 else ""
    floor = (amount("s", m.floor), _number(m.median / m.floor)) if m.floor else ("", "")
    return _columns(f"  {m.name}", amount(m.unit, m.median), spread, *floor, f"{ratio:.2f}" if ratio else "")


def amount(unit: Unit, *values: float) -> str:
    """Return values as text: `12.3 s`, `4.5 - 4.6 ms`, `789 us`, `74.1/s`, `1.52 x`, `3.3 GiB`."""
    if unit == "bytes":
        return size(values[-1])
    scale, name = next((x for x in SCALES[unit] if values[-1] * x[0] >= 0.9995), SCALES[unit][-1])
    return " - ".join(_number(value * scale) for value in values) + name


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def _columns(name: str, median: str, spread: str, floor: str, times: str, ratio: str) -> str:
    return f"{name:<25}{median:>10}{spread:>18}{floor:>11}{times:>8}{ratio:>7}".rstrip()
