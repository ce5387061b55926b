"""Our results beside the published ones, as a table for a README."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamer.errors import UserError
from dreamer.results.curves import Run, by_task, read_run
from dreamer.results.published import OFFICIAL, published_curve, published_curves, published_score

HEAD = (
    "| task | seeds | frames | ours | official TF2 code, same frames | paper, 5e6 frames |\n"
    "|---|---:|---:|---:|---:|---:|\n"
)


def results_table(runs: Sequence[Path]) -> str:
    """Return a Markdown table: one row for each task, number of frames and set of options.

    Ours is the last evaluation of each run, mean and standard deviation over seeds; so is the official
    code's (five seeds). A task that nobody published has dashes.

    Raises:
        UserError: No runs were given, one is no run directory or has no evaluation.
    """
    if not runs:
        raise UserError("No results to show: name one run directory or more.")
    rows = [
        _row(task, frames, same)
        for task, group in by_task([read_run(Path(run)) for run in runs]).items()
        for (frames, _), same in _alike(group).items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _alike(runs: list[Run]) -> dict[tuple[int, str], list[Run]]:
    """Runs that differ in nothing but their seed, by their frames and options."""
    groups: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.env_step[-1]):
        groups[int(run.env_step[-1]), run.options].append(run)
    return groups


def _row(task: str, frames: int, runs: list[Run]) -> str:
    last = [run.mean[-1] for run in runs]
    ours = f"{np.mean(last):.0f}" + (f" ± {np.std(last):.0f}" if len(last) > 1 else "")
    paper = published_score(task)
    cells = [
        task.replace("_", " "),
        str(len(runs)),
        f"{frames:,}",
        ours,
        _official(task, frames),
        "-" if paper is None else f"{paper:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _official(task: str, frames: int) -> str:
    if not published_curves(task):
        return "-"
    curve = published_curve(task, source=OFFICIAL)
    mean, std = curve.at(frames), curve.std_at(frames)
    return "-" if np.isnan(mean) else f"{mean:.0f} ± {std:.0f}"
