"""Collect how the runs of a report were made: options, versions, hardware, hours."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamer.config import Config, to_flat
from dreamer.errors import UserError
from dreamer.results.curves import IGNORED, Run, read_config
from dreamer.results.inputs import Method
from dreamer.storage.machine import recorded_machines

OF_ONE_RUN = ("host", "command")
"""What `machine.json` has that would make every run a machine of its own."""


@dataclass(frozen=True)
class Made:
    """One run in the list of runs. `planned` frames are 0 and `hours` NaN if they are not known."""

    task: str
    seed: int
    frames: int
    planned: int
    score: float
    std: float
    episodes: int
    hours: float


def made(method: Method) -> list[Made]:
    """Return the runs of a method as the page lists them."""
    return [_made(run) for runs in method.by_task().values() for run in runs]


def _made(run: Run) -> Made:
    return Made(
        task=run.task,
        seed=run.seed,
        frames=int(run.env_step[-1]),
        planned=_planned(run),
        score=float(run.mean[-1]),
        std=run.std,
        episodes=run.episodes,
        hours=run.seconds / 3600,
    )


def _planned(run: Run) -> int:
    if not run.path.is_dir():
        return 0
    try:
        return int(read_config(run.path).get("steps", 0))
    except (UserError, TypeError, ValueError):
        return 0


def hours(methods: tuple[Method, ...]) -> float:
    """Return the total hours of all runs, as far as they are known."""
    return float(np.nansum([run.seconds for method in methods for run in method.runs])) / 3600


def unlike_the_paper(method: Method) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ from the paper's, as (ours, the paper's)."""
    paper = to_flat(Config())
    return {
        name: (value, paper[name])
        for name, value in method.options.items()
        if name in paper and name not in IGNORED and value != paper[name]
    }


def machines(method: Method) -> list[str]:
    """Return the versions and hardware that the runs recorded, each machine once."""
    found = [method.hardware] if method.hardware else []
    for run in method.runs:
        for machine in recorded_machines(run.path):
            told = {name: value for name, value in machine.items() if name not in OF_ONE_RUN}
            found.append(", ".join(f"{name} {value}" for name, value in told.items()))
    return list(dict.fromkeys(found))
