"""Make a Markdown table of our scores beside the published ones."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreamer.errors import UserError
from dreamer.results.curves import Run
from dreamer.results.published import (
    OFFICIAL,
    official_curve_at,
    published_curve,
    published_curves,
    published_score,
)
from dreamer.results.scores import Method, read_method, read_scores

COLUMNS = (
    "method",
    "task",
    "seeds",
    "frames",
    "ours",
    "official TF2 code, same frames (range)",
    "paper, 5e6 frames",
    "hours per run",
)
ALIGNMENT = ("---", "---", "---:", "---:", "---:", "---:", "---:", "---:")
PUBLISHED = {"obs": "image", "agent": "dreamer", "objective": "reconstruction"}
"""Options of the published Dreamer. Only methods with these options are compared with it."""


def results_table(scores: Sequence[Path]) -> str:
    """Return a Markdown table of scores files: one row for each method, task and number of frames.

    The score of a run is its last evaluation. The table has the mean and standard deviation over seeds, for the
    official code the mean and range of its five seeds, and a star at tasks on which the options were chosen. A dash
    means that nothing comparable was published. Methods with several comparable tasks get a row of means. With a
    single file there is no column for the method.

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
    rows = [
        (
            name,
            task.replace("_", " ") + (" \\*" if task in method.tuned_on else ""),
            str(len(group)),
            f"{frames:,}",
            _ours(group),
            _official(task, frames) if comparable else "-",
            _paper(task) if comparable else "-",
            _hours(group),
        )
        for (task, frames), group in sorted(groups.items())
    ]
    return rows + (_mean_over_tasks(name, groups) if comparable else [])


def _mean_over_tasks(name: str, groups: dict[tuple[str, int], list[Run]]) -> list[tuple[str, ...]]:
    """Return a row of means over the tasks with an official score at the same frames, or no row for a single task."""
    official = {key: official_curve_at(*key) for key in groups if published_curves(key[0])}
    official = {key: score for key, score in official.items() if not np.isnan(score)}
    if len(official) < 2:
        return []
    ours = {key: np.mean([run.mean[-1] for run in groups[key]]) for key in official}
    reached = sum(ours[key] >= official[key] for key in official)
    paper = [score for task, _ in official if (score := published_score(task)) is not None]
    return [
        (
            name,
            f"**mean of {len(official)} tasks**",
            "",
            "",
            f"**{np.mean(list(ours.values())):.0f}**",
            f"**{np.mean(list(official.values())):.0f}**, reached on {reached}",
            f"**{np.mean(paper):.0f}**",
            "",
        )
    ]


def _ours(runs: list[Run]) -> str:
    last = [run.mean[-1] for run in runs]
    return f"{np.mean(last):.0f}" + (f" ± {np.std(last):.0f}" if len(last) > 1 else "")


def _official(task: str, frames: int) -> str:
    if not published_curves(task):
        return "-"
    curve = published_curve(task, source=OFFICIAL)
    mean, seeds = curve.at(frames), curve.seeds_at(frames)
    return "-" if np.isnan(mean) else f"{mean:.0f} ({seeds.min():.0f} to {seeds.max():.0f})"


def _paper(task: str) -> str:
    score = published_score(task)
    return "-" if score is None else f"{score:.0f}"


def _hours(runs: list[Run]) -> str:
    hours = np.mean([run.seconds for run in runs]) / 3600
    return "-" if np.isnan(hours) else f"{hours:.2f}"
