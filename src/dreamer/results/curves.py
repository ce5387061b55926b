"""Learning curves of our runs, read from the `metrics.jsonl` and `config.json` of run directories."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.config import Affects, options_affecting
from dreamer.errors import UserError
from dreamer.results.published import task_name


@dataclass(frozen=True)
class Run:
    """One run: its task and seed, and the evaluations so far.

    `env_step` (N,) and `mean` (N,), the mean return of each evaluation. Of the last one also the number of
    `episodes`, the `std` over them, and the `seconds` that the run had taken by then.
    """

    path: Path
    task: str
    seed: int
    env_step: np.ndarray
    mean: np.ndarray
    episodes: int
    std: float
    seconds: float
    options: str
    """All options but those `IGNORED`: where they agree, runs may be averaged."""


IGNORED = options_affecting(Affects.SPEED, Affects.NOTHING) | {"seed"}
"""Options in which runs that are averaged may differ."""


@dataclass(frozen=True)
class Seeds:
    """Runs of one task on common frames: `env_step` (N,), `mean`, `low` and `high` (N,) over the seeds."""

    env_step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's `metrics.jsonl`; a last line that a kill cut short is left out.

    Raises:
        UserError: There is no such file, or another line than the last is broken.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise UserError(
            f"{run} is no run directory (it has no metrics.jsonl): give one that `dreamer train` wrote."
        )
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    metrics = []
    for number, line in enumerate(lines, 1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise UserError(f"Line {number} of {path} is broken: delete that line.") from None
    return metrics


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's `config.json`.

    Raises:
        UserError: It is missing or broken.
    """
    try:
        return json.loads((run / "config.json").read_text())
    except (OSError, json.JSONDecodeError):
        raise UserError(
            f"{run / 'config.json'} cannot be read: give a directory that `dreamer train` wrote."
        ) from None


def read_run(run: Path) -> Run:
    """Read the evaluation curve of a run.

    Raises:
        UserError: It is no run directory, or it has not been evaluated yet.
    """
    metrics, config = read_metrics(run), read_config(run)
    points = {line["env_step"]: line for line in metrics if line.get("eval/return") is not None}
    if not points:
        raise UserError(f"{run} has no evaluation yet: let it train on.")
    env_step = sorted(points)
    last = points[env_step[-1]]
    return Run(
        path=run,
        task=task_name(config["env"]),
        seed=int(config.get("seed", 0)),
        env_step=np.array(env_step, float),
        mean=np.array([points[step]["eval/return"] for step in env_step], float),
        episodes=int(last.get("eval/episodes", 0)),
        std=last.get("eval/return_std", np.nan),
        seconds=last.get("seconds", np.nan),
        options=json.dumps({key: x for key, x in config.items() if key not in IGNORED}, sort_keys=True),
    )


def by_task(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by task, tasks in alphabetical order, seeds in rising order."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.task, run.seed)):
        groups[run.task].append(run)
    return dict(groups)


def over_seeds(runs: Sequence[Run]) -> Seeds:
    """Average runs of one task over the frames that all of them reached, linear between evaluations."""
    start = max(run.env_step[0] for run in runs)
    end = min(run.env_step[-1] for run in runs)
    steps = np.unique(np.concatenate([run.env_step for run in runs]))
    steps = steps[(start <= steps) & (steps <= end)]
    returns = np.stack([np.interp(steps, run.env_step, run.mean) for run in runs])
    return Seeds(steps, returns.mean(0), returns.min(0), returns.max(0))
