"""Commands that compare runs with each other and with published scores."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import tyro

from dreamer.errors import UserError

Paths = Annotated[list[Path], tyro.conf.Positional]


def plot(paths: Paths, out: Path = Path("curve.png"), labels: tuple[str, ...] = ()) -> None:
    """Draw learning curves over the published curves of the same tasks.

    Runs that differ only in task and seed share a color, and their mean is drawn with its 95 % bootstrap interval.
    What cannot be drawn yet is named and left out.

    Examples: `dreamer plot runs/swingup-1`, `dreamer plot runs/*`,
    `dreamer plot runs/a-0 runs/a-1 runs/b-0 --labels "with noise" without`.

    Args:
        paths: Run directories, directories of sweeps, or scores files.
        out: Image to write (.png, .svg or .pdf).
        labels: Names for the colors, in the order of the paths; without, the options in which they differ.
    """
    from dreamer.results.plot import plot_runs

    _say(plot_runs(paths, out, labels))
    print(f"Wrote {out}")


def scores(
    runs: Paths,
    out: Path,
    command: str = "",
    commit: str = "",
    hardware: str = "",
    tuned_on: tuple[str, ...] = (),
) -> None:
    """Add finished runs of one method to a scores file, with how they were made in a JSON file beside it.

    A run of the same task and seed is replaced. What cannot be added is named and left out.

    Example: `dreamer scores runs/swingup-* --out dreamer_laptop.csv --hardware "2 cores"`.

    Args:
        runs: Run directories.
        out: Scores file (.csv), made if it is missing.
        command: Command of every run, with TASK and SEED in place of the run's own.
        commit: Commit of the code.
        hardware: Machine that the runs were made on.
        tuned_on: Tasks on which the options were chosen; tables mark them.
    """
    from dreamer.results.scores import append_run

    refusals = []
    for run in runs:
        try:
            append_run(run, out, command, commit, hardware, tuned_on)
            print(f"Added {run} to {out}")
        except UserError as refusal:
            refusals.append(str(refusal))
    if len(refusals) == len(runs):
        raise UserError(" ".join(refusals))
    _say(refusals)


def table(files: Paths) -> None:
    """Print scores files as a Markdown table, beside the published scores.

    Example: `dreamer table docs/results/scores/dreamer_laptop.csv`.

    Args:
        files: Scores files.
    """
    from dreamer.results.report import results_table

    print(results_table(files), end="")


def report(runs: Paths, out: Path = Path("report")) -> None:
    """Write a page with curves, scores and videos beside the published ones; it opens without a network.

    Examples: `dreamer report runs/swingup-*`, `dreamer report runs/sweep --out report`,
    `dreamer report docs/results/scores/dreamer_laptop.csv --out report`.

    Args:
        runs: Run directories, directories of sweeps, or scores files.
        out: Directory for the page and its videos.
    """
    from dreamer.report.page import write_report

    written = write_report(runs, out)
    _say(written.notes)
    print(f"Wrote {written.page}")


def _say(notes: Iterable[str]) -> None:
    """Name what was left out, where it does not get into the result of the command."""
    for note in notes:
        print(f"dreamer: {note}", file=sys.stderr)
