"""Read the published curves and tables: those of the paper and of the official TensorFlow 2 code.

`published/README.md` describes the data and their sources.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from dreamer.errors import UserError

FOLDER = Path(__file__).parent / "published"
OFFICIAL = "official TF2 code"
TEST_EVERY = 10_000
"""Frames between two test episodes of the published runs."""
D4PG = "d4pg_states.csv"
_FILES = {
    # If two files have the same method, the one with the finer curve comes first.
    "paper_figure_7.csv": ("paper, Figure 7", 100_000),
    "paper_figure_10.csv": ("paper, Figure 10", 200_000),
    "paper_figure_8.csv": ("paper, Figure 8", 100_000),
    "paper_figure_11.csv": ("paper, Figure 11", 200_000),
    "official_tf2.csv": (OFFICIAL, 100_000),
    D4PG: ("D4PG from states", 20_000),
}


@dataclass(frozen=True)
class Curve:
    """One published learning curve of `N` points.

    `env_step` `(N,)` is the label of a point: the END of the `bin` frames whose test episodes it averages. `mean`
    and `std` `(N,)` are over seeds. `seeds` `(S, N)` are the seeds themselves, if they are known, with NaN after the
    end of a run.
    """

    method: str
    source: str
    bin: int
    env_step: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    seeds: np.ndarray | None = None

    @property
    def middle(self) -> np.ndarray:
        """Mean frame of the test episodes of each point, `(N,)`."""
        return np.where(
            np.arange(len(self.env_step)) == 0, self.env_step, self.env_step - (self.bin - TEST_EVERY) / 2
        )

    def at(self, env_step: float) -> float:
        """Return the mean at `env_step`, on lines between the middles of the bins; NaN outside the curve."""
        return float(np.interp(env_step, self.middle, self.mean, left=np.nan, right=np.nan))

    def seeds_at(self, env_step: float) -> np.ndarray:
        """Return the scores at `env_step` of the seeds that reached it, read as `at` does."""
        if self.seeds is None:
            return np.array([])
        at = [np.interp(env_step, self.middle, seed, left=np.nan, right=np.nan) for seed in self.seeds]
        return np.array([score for score in at if not np.isnan(score)])

    def std_at(self, env_step: float) -> float:
        """Return the standard deviation over seeds at `env_step`, read as `at` does."""
        return float(np.interp(env_step, self.middle, self.std, left=np.nan, right=np.nan))


def task_name(env: str) -> str:
    """Return the name under which an environment is published: `dmc:cup_catch` -> `ball_in_cup_catch`."""
    task = env.removeprefix("dmc:")
    return "ball_in_cup_catch" if task == "cup_catch" else task


def published_tasks() -> list[str]:
    """Return the 20 tasks of the paper, in alphabetical order."""
    return sorted({task for task, _ in _curves()})


def published_curves(task: str) -> list[Curve]:
    """Return every curve of a task, or an empty list. Of two with the same method the finer comes first."""
    task = task_name(task)
    return [curve for (name, _), curves in _curves().items() if name == task for curve in curves]


def published_curve(task: str, method: str = "dreamer", source: str = "paper") -> Curve:
    """Return the finest curve of a method whose source begins with `source`.

    Raises:
        UserError: There is none.
    """
    for curve in published_curves(task):
        if curve.method == method and curve.source.startswith(source):
            return curve
    raise UserError(
        f"No published curve of {method!r} on {task_name(task)!r}; "
        f"the published tasks are {', '.join(published_tasks())}."
    )


def official_curve_at(task: str, env_step: float) -> float:
    """Return the mean over seeds of the official TF2 code at `env_step`, or NaN outside its curve."""
    return published_curve(task, source=OFFICIAL).at(env_step)


def published_score(task: str, method: str = "dreamer") -> float | None:
    """Return the final score of a method, or None if there is none.

    Methods are `dreamer` and `planet` after 5e6 frames, `slac` after 3e6, `a3c` and `d4pg` after 1e8.
    """
    return _scores().get((task_name(task), method))


@cache
def d4pg_from_states() -> dict[str, Curve]:
    """Return, by task, the curve of D4PG from state vectors that DreamerV3 is compared with."""
    curves = _read_file(D4PG)
    return {task: curve[0] for (task, _), curve in curves.items()}


@cache
def _curves() -> dict[tuple[str, str], list[Curve]]:
    """Return the curves by (task, file)."""
    return {key: curves for file in _FILES if file != D4PG for key, curves in _read_file(file).items()}


def _read_file(file: str) -> dict[tuple[str, str], list[Curve]]:
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for method, task, *values in _rows(file):
        rows[task, method].append([float(value) if value else np.nan for value in values])
    curves: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for (task, method), values in rows.items():
        curves[task, file].append(_curve(file, method, np.array(values).T))
    return curves


def _curve(file: str, method: str, columns: np.ndarray) -> Curve:
    source, size = _FILES[file]
    env_step, *values = columns
    if source != OFFICIAL:
        mean, std = values
        return Curve(method, source, size, env_step, mean, std)
    seeds = np.stack(values)
    return Curve(method, source, size, env_step, np.nanmean(seeds, 0), np.nanstd(seeds, 0), seeds)


@cache
def _scores() -> dict[tuple[str, str], float]:
    return {(task, method): float(score) for method, task, _, score in _rows("scores.csv")}


def _rows(file: str) -> list[list[str]]:
    with (FOLDER / file).open(newline="") as lines:
        return list(csv.reader(lines))[1:]
