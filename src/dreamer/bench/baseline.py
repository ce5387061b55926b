"""A stored report as the baseline of a new one: how every figure has changed, and whether one is worse."""

from typing import Any

from dreamer.bench.figure import Figure
from dreamer.bench.report import Report
from dreamer.config import Affects, options_affecting
from dreamer.errors import UserError

Key = tuple[str, str, Any]
COMPARED = options_affecting(Affects.EVERYTHING, Affects.SPEED)
"""Options in which two reports that are compared must agree; the device and the way of updates stand in each
figure."""
TELLING = ("device", "processor", "cores", "threads", "torch")
"""What of a machine makes figures hard to compare."""


def slowdowns(report: Report, baseline: Report) -> dict[Key, float]:
    """Return by what factor each figure is worse than the baseline's, if both have it; below 1 is better.

    Raises:
        UserError: The two have measured runs of different options, or have no figure in common.
    """
    _check_same_options(report, baseline)
    before = {figure.key: figure for figure in baseline.figures}
    both = [figure for figure in report.figures if figure.key in before]
    if not both:
        raise UserError("The baseline has none of these figures: measure the same device and precision.")
    return {figure.key: _slowdown(figure, before[figure.key]) for figure in both}


def regression(ratios: dict[Key, float], tolerance: float) -> str | None:
    """Return one sentence that names the figures worse by more than `tolerance`, None if there are none."""
    worse = sorted(((ratio, key) for key, ratio in ratios.items() if ratio > tolerance), key=lambda x: -x[0])
    if not worse:
        return None
    named = ", ".join(f"{_name(key)} {ratio:.2f} times" for ratio, key in worse[:5])
    others = f" and {len(worse) - 5} more" if len(worse) > 5 else ""
    return f"Worse than the baseline by more than {tolerance:g} times: {named}{others}."


def other_machine(report: Report, baseline: Report) -> list[str]:
    """Return what differs between the two machines, in words."""
    return [
        f"{name} was {baseline.machine.get(name)}, now {value}"
        for name, value in report.machine.items()
        if name in TELLING and baseline.machine.get(name) != value
    ]


def _slowdown(figure: Figure, before: Figure) -> float:
    now, then = figure.median, before.median
    return then / now if figure.unit == "frames/s" else now / then


def _name(key: Key) -> str:
    group, name, variant = key
    return f"{name} of {group} ({variant.precision}, {variant.path})"


def _check_same_options(report: Report, baseline: Report) -> None:
    old, new = baseline.options, report.options
    common = new.keys() & old.keys() & COMPARED  # an option that one does not know is passed over
    differing = sorted(name for name in common if old[name] != new[name])
    if differing:
        listed = ", ".join(f"{name} {old[name]!r} and {new[name]!r}" for name in differing[:5])
        raise UserError(f"The baseline has measured another run ({listed}): give the same options to both.")
