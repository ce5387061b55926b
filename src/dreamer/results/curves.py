"""Read the learning curves of our runs from the `metrics.jsonl` and `config.json` of run directories."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.config import Affects, options_affecting
from dreamer.env_args import of_today
from dreamer.errors import UserError
from dreamer.results.published import task_name
from dreamer.storage.regular_file import MOST_TEXT, read_regular


@dataclass(frozen=True)
class Run:
    """One run: its task, its seed, and its N evaluations so far.

    `env_step` `(N,)` has the frames and `mean` `(N,)` the mean return of each evaluation. `episodes`, the `std` over
    them, and the `seconds` that the run had taken belong to the last evaluation.
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
    """All options except those `IGNORED`, as JSON. Runs may be averaged if these are equal."""
    train: np.ndarray = field(default_factory=lambda: np.empty((2, 0)))
    """Frames and returns of collected episodes `(2, M)`; of a scores file there are none."""


IGNORED = options_affecting(Affects.SPEED, Affects.NOTHING) | {"seed"}
"""Options that may differ between runs that are averaged."""


@dataclass(frozen=True)
class Seeds:
    """Runs of one task at common frames: `env_step` `(N,)`; `mean`, `low` and `high` `(N,)` over the seeds.

    `interval` `(2, N)` is the 95 % bootstrap interval of the mean, or None for fewer than `LEAST_SEEDS` seeds.
    """

    env_step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    interval: np.ndarray | None


LEAST_SEEDS = 3
"""Fewest seeds for a bootstrap. With fewer, its interval would be too narrow."""
LARGEST = 1e100
"""What is as large as this is no number of a run, and no curve of it can be drawn."""
RESAMPLED = 2000
"""Samples of the bootstrap."""


def read_metrics(run: Path, damage: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the lines of a run's `metrics.jsonl`, without a last line that was cut short.

    If `damage` is a list, other broken lines are left out, too, and a sentence about them is added to it.

    Raises:
        UserError: There is no such file; or a line before the last is broken and `damage` is None.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise UserError(
            f"{run} is not a run directory (it has no metrics.jsonl): give one that `dreamer train` wrote."
        )
    metrics, broken = [], []
    lines = _text(path).splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        record = read_line(line)
        if record is not None:
            metrics.append(record)
        elif number < len(lines):
            broken.append(number)
    if broken and damage is None:
        raise UserError(f"Line {broken[0]} of {path} is broken: delete that line.")
    if broken and damage is not None:
        one = f"Line {broken[0]} of {path} cannot be read and is left out."
        many = (
            f"{len(broken)} lines of {path}, the first of them {broken[0]}, cannot be read and are left out."
        )
        damage.append(one if len(broken) == 1 else many)
    return metrics


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode(errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def read_line(line: str) -> dict[str, Any] | None:
    """Return one line of `metrics.jsonl`: finite numbers and None by name. Return None if it is anything else."""
    try:
        record = json.loads(line)
        values = [value for value in record.values() if value is not None]
        sound = all(
            isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < LARGEST for x in values
        )
        return record if sound and record["env_step"] >= 0 else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's `config.json`.

    Raises:
        UserError: It is missing or broken.
    """
    try:
        config = json.loads(read_regular(run / "config.json", MOST_TEXT))
        if not isinstance(config["env"], str) or not isinstance(
            config.get("seed", 0) + config.get("steps", 0), int
        ):
            raise TypeError
        return of_today(config)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{run / 'config.json'} cannot be read: give a directory that `dreamer train` wrote."
        ) from None


def read_run(run: Path, damage: list[str] | None = None) -> Run:
    """Read the evaluation curve of a run. For `damage` see `read_metrics`.

    Raises:
        UserError: `run` is not a run directory, or the run has not been evaluated yet.
    """
    metrics, config = read_metrics(run, damage), read_config(run)
    points = {line["env_step"]: line for line in metrics if line.get("eval/return") is not None}
    if not points:
        raise UserError(f"{run} has no evaluation yet: continue its training.")
    episodes = [
        (line["env_step"], line["train/return"]) for line in metrics if line.get("train/return") is not None
    ]
    env_step = sorted(points)
    last = points[env_step[-1]]
    return Run(
        path=run,
        task=task_name(config["env"]),
        seed=int(config.get("seed", 0)),
        env_step=np.array(env_step, float),
        mean=np.array([points[step]["eval/return"] for step in env_step], float),
        episodes=int(last.get("eval/episodes") or 0),
        std=_number(last.get("eval/return_std")),
        seconds=_number(last.get("seconds")),
        options=json.dumps({key: x for key, x in config.items() if key not in IGNORED}, sort_keys=True),
        train=np.array(episodes, float).reshape(-1, 2).T,
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def over_seeds(runs: Sequence[Run]) -> Seeds:
    """Average runs of one task over the frames that all of them reached, with lines between evaluations."""
    start = max(run.env_step[0] for run in runs)
    end = min(run.env_step[-1] for run in runs)
    steps = np.unique(np.concatenate([run.env_step for run in runs]))
    steps = steps[(start <= steps) & (steps <= end)]
    returns = np.stack([np.interp(steps, run.env_step, run.mean) for run in runs])
    interval = _interval(returns) if len(runs) >= LEAST_SEEDS else None
    return Seeds(steps, returns.mean(0), returns.min(0), returns.max(0), interval)


def _interval(returns: np.ndarray) -> np.ndarray:
    """Draw the seeds of `(seeds, N)` anew, with replacement, and return where 95 % of the means lie, `(2, N)`."""
    count = len(returns)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLED, count))
    share = np.stack([(drawn == seed).mean(1) for seed in range(count)], axis=1)
    return np.percentile(share @ returns, [2.5, 97.5], axis=0)
