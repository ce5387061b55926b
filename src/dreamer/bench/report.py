"""All figures of one bench: kept as JSON, shown as a table, compared with an earlier one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dreamer.bench.figure import ANY, Figure, Variant
from dreamer.errors import UserError
from dreamer.replay.atomic_file import atomic_file
from dreamer.results.doctor import size

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Figures, the machine they were measured on, and the options of the run that was measured."""

    machine: dict[str, Any]
    options: dict[str, Any]
    figures: list[Figure]

    def write(self, path: Path) -> None:
        """Write JSON, whole or not at all. Raises `UserError` where the disk refuses."""
        content = {"format": FORMAT, **asdict(self)}
        with atomic_file(path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` has written. Raises `UserError` for anything else."""
        try:
            content = json.loads(path.read_text())
            figures = [Figure(**{**f, "variant": Variant(**f["variant"])}) for f in content["figures"]]
            return cls(content["machine"], content["options"], figures)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is no file of `dreamer bench --json` ({error}): give another."
            ) from error


def print_report(
    report: Report, ratios: dict[Any, float] | None = None, console: Console | None = None
) -> None:
    """Print a table: median, quartiles and floor, and with `ratios` how each figure compares."""
    console = console or Console()
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    console.print(machine, style="dim", highlight=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in (
        "figure",
        "on",
        "median",
        "quartiles",
        "floor",
        "× floor",
        *(["× baseline"] if ratios else []),
    ):
        table.add_column(name, justify="left" if name in ("figure", "on") else "right")
    group = ""
    for figure in report.figures:
        if figure.group != group:
            group = figure.group
            table.add_row(f"[bold]{group}[/bold]")
        ratio = [] if not ratios else [f"{ratios[figure.key]:.2f}" if figure.key in ratios else ""]
        table.add_row(*_row(figure), *ratio)
    console.print(table)


def _row(figure: Figure) -> list[str]:
    variant = figure.variant
    where = " ".join(word for word in (variant.device, variant.precision, variant.path) if word != ANY)
    show = SHOW[figure.unit]
    spread = f"{show(figure.low)} - {show(figure.high)}" if figure.count > 1 else ""
    if not figure.floor:
        return [f"  {figure.name}", where, show(figure.median), spread, "", ""]
    above = f"{figure.median / figure.floor:.3g}"
    return [f"  {figure.name}", where, show(figure.median), spread, seconds(figure.floor), above]


def seconds(value: float) -> str:
    """Words for a length of time: `12.3 s`, `4.56 ms`, `789 µs`."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


SHOW = {"s": seconds, "frames/s": lambda value: f"{value:.4g} frames/s", "bytes": size}
