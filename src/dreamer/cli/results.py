"""Commands that compare runs with each other and with published scores."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

Paths = Annotated[list[Path], tyro.conf.Positional]


def plot(paths: Paths, out: Path = Path("curve.png")) -> None:
    """Draw learning curves over the published curves of the same tasks.

    Examples: `dreamer plot runs/swingup-1`, `dreamer plot docs/results/scores/*.csv --out all.pdf`.

    Args:
        paths: Run directories or scores files.
        out: Image to write (.png, .svg or .pdf).
    """
    from dreamer.results.plot import plot_runs

    plot_runs(paths, out)
    print(f"Wrote {out}")


def scores(runs: Paths, out: Path, command: str = "", commit: str = "", hardware: str = "") -> None:
    """Add finished runs of one method to a scores file, with how they were made in a JSON file beside it.

    A run of the same task and seed is replaced.

    Example: `dreamer scores runs/swingup-* --out dreamer_laptop.csv --hardware "2 cores"`.

    Args:
        runs: Run directories.
        out: Scores file (.csv), made if it is missing.
        command: Command of every run, with TASK and SEED in place of the run's own.
        commit: Commit of the code.
        hardware: Machine that the runs were made on.
    """
    from dreamer.results.scores import append_run

    for run in runs:
        append_run(run, out, command, commit, hardware)
        print(f"Added {run} to {out}")


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
    for note in written.notes:
        print(f"dreamer: {note}", file=sys.stderr)
    print(f"Wrote {written.page}")
