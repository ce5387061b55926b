"""Make a Markdown table of our scores beside the published ones."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamer.errors import UserError
from dreamer.results.curves import Run
from dreamer.results.published import OFFICIAL, published_curve, published_curves, published_score
from dreamer.results.scores import Method, read_method, read_scores

COLUMNS = (
    "method",
    "task",
    "seeds",
    "frames",
    "ours",
    "official TF2 code, same frames",
    "paper, 5e6 frames",
    "hours per run",
)
ALIGNMENT = ("---", "---", "---:", "---:", "---:", "---:", "---:", "---:")
PUBLISHED = {"obs": "image", "agent": "dreamer", "objective": "reconstruction"}
"""Options of the published Dreamer. Only methods with these options are compared with it."""


def results_table(scores: Sequence[Path]) -> str:
    """Return a Markdown table of scores files: one row for each method, task and number of frames.

    The score of a run is its last evaluation. The table has the mean and standard deviation over seeds, also for the
    official code (five seeds). A dash means that nothing comparable was published. With a single file there is no
    column for the method.

    Raises:
        UserError: No file was given, or one is not a scores file.
    """
    if not scores:
        raise UserError("No results to show: name at least one scores file (METHOD.csv).")
    rows = [COLUMNS, ALIGNMENT]
    for path in map(Path, scores):
        rows += _rows(path.stem, read_method(path), read_scores(path))
    first = 0 if len(scores) > 1 else 1
    return "".join(f"| {' | '.join(row[first:])} |\n" for row in rows)


def _rows(name: str, method: Method, runs: list[Run]) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.task, int(run.env_step[-1])].append(run)
    comparable = all(method.options.get(option, value) == value for option, value in PUBLISHED.items())
    return [
        (
            name,
            task.replace("_", " "),
            str(len(group)),
            f"{frames:,}",
            _ours(group),
            _official(task, frames) if comparable else "-",
            _paper(task) if comparable else "-",
            _hours(group),
        )
        for (task, frames), group in sorted(groups.items())
    ]


def _ours(runs: list[Run]) -> str:
    last = [run.mean[-1] for run in runs]
    return f"{np.mean(last):.0f}" + (f" ± {np.std(last):.0f}" if len(last) > 1 else "")


def _official(task: str, frames: int) -> str:
    if not published_curves(task):
        return "-"
    curve = published_curve(task, source=OFFICIAL)
    mean, std = curve.at(frames), curve.std_at(frames)
    return "-" if np.isnan(mean) else f"{mean:.0f} ± {std:.0f}"


def _paper(task: str) -> str:
    score = published_score(task)
    return "-" if score is None else f"{score:.0f}"


def _hours(runs: list[Run]) -> str:
    hours = np.mean([run.seconds for run in runs]) / 3600
    return "-" if np.isnan(hours) else f"{hours:.2f}"
