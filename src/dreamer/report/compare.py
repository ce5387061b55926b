"""Compare scores at equal frames, and decide whether a task passes or fails (docs/protocol.md).

With `x̄` our mean over `n` seeds, `ȳ` the published mean over `m` seeds, and a margin of a tenth of `ȳ`:

    pass   we are 95% sure that x̄ - ȳ ≥ -margin
    fail   we are 95% sure that x̄ - ȳ < -margin
    open   the seeds do not decide

The interval of `x̄ - ȳ` is that of Welch's t-test. A single seed has no spread of its own. It is given that of the
published seeds (Crawford and Howell, "Comparing an individual's test score against norms derived from small samples",
1998), and the page marks it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from dreamer.results.curves import Run
from dreamer.results.published import OFFICIAL, published_curve, published_curves

MILESTONES = (100_000, 500_000, 1_000_000, 5_000_000)
"""Frames at which scores are compared."""
HALF_BIN = 45_000
"""Evaluations within this many frames of a milestone are averaged, as in the published bins."""
MARGIN = 0.1
"""Share of the published mean that may be missing."""
SURE = 0.95
"""Confidence of each end of an interval."""
LEAST = 10.0
"""Published means below this show no learning yet, so there is nothing to compare with."""
PAPER_SEEDS = 5

PUBLISHED = {
    "dreamer, reconstruction": "dreamer",
    "dreamer, contrastive": "contrastive",
    "dreamer, contrastive-tf1": "contrastive",
    "dreamer, reward-only": "reward_only",
    "no-value, reconstruction": "no_value",
    "planet, reconstruction": "planet",
}
"""Published methods by agent and objective."""

Outcome = Literal["pass", "fail", "open", "too early"]


@dataclass(frozen=True)
class Sample:
    """Scores of `n` seeds: `mean`, `std` (estimated with n - 1, NaN for one seed), and each seed if known."""

    mean: float
    std: float
    n: int
    seeds: tuple[float, ...] = ()

    @classmethod
    def of(cls, scores: Sequence[float] | np.ndarray) -> "Sample":
        """Summarize the scores of some seeds."""
        values = np.asarray(scores, float)
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        return cls(float(values.mean()), std, len(values), tuple(values.tolist()))


@dataclass(frozen=True)
class Comparison:
    """Our mean minus the published one, its interval (each end holds with `SURE`), and the verdict.

    `assumed` is true if a single seed was given the spread of the published ones.
    """

    difference: float
    low: float
    high: float
    margin: float
    outcome: Outcome
    assumed: bool


@dataclass(frozen=True)
class Row:
    """One task of one method at `frames`. What was not published is None. `so_far`: no milestone was reached."""

    task: str
    frames: int
    so_far: bool
    ours: Sample
    official: Sample | None
    paper: Sample | None
    to_official: Comparison | None
    to_paper: Comparison | None


def rows_of(task: str, runs: Sequence[Run], published: str | None) -> list[Row]:
    """Compare the runs of a task with the method `published`, at every milestone that a run reached.

    If no run reached one, they are compared at the frames that all of them reached.
    """
    end = max(run.env_step[-1] for run in runs)
    frames = [frames for frames in MILESTONES if frames <= end]
    so_far = not frames
    frames = frames or [int(min(run.env_step[-1] for run in runs))]
    return [_row(task, runs, published, at, so_far) for at in frames]


def _row(task: str, runs: Sequence[Run], published: str | None, frames: int, so_far: bool) -> Row:
    ours = Sample.of([score_at(run, frames) for run in runs if run.env_step[-1] >= frames])
    official = official_at(task, frames) if published == "dreamer" else None
    paper = paper_at(task, published, frames) if published else None
    return Row(
        task,
        frames,
        so_far,
        ours,
        official,
        paper,
        compare(ours, official) if official else None,
        compare(ours, paper) if paper else None,
    )


def score_at(run: Run, frames: float) -> float:
    """Return the score of a run at `frames`: the mean of its evaluations around there.

    That is `HALF_BIN` frames before and after, or less if the run ends sooner; at its end it is the last evaluation
    alone. Without an evaluation there, the score lies on a straight line between two.
    """
    half = min(HALF_BIN, run.env_step[-1] - frames)
    around = np.abs(run.env_step - frames) <= half
    return float(run.mean[around].mean() if around.any() else np.interp(frames, run.env_step, run.mean))


def official_at(task: str, frames: float) -> Sample | None:
    """Return the seeds of the official TF2 code at `frames`, or None if there are fewer than two."""
    if not published_curves(task):
        return None
    seeds = published_curve(task, source=OFFICIAL).seeds_at(frames)
    return Sample.of(seeds) if len(seeds) > 1 else None


def paper_at(task: str, method: str, frames: float) -> Sample | None:
    """Return the paper's curve of a method at `frames`, or None outside the curve.

    Its band is assumed to be the standard deviation of its five seeds, divided by five and not four.
    """
    for curve in published_curves(task):
        if curve.method == method and curve.source != OFFICIAL and not np.isnan(curve.at(frames)):
            spread = curve.std_at(frames) * math.sqrt(PAPER_SEEDS / (PAPER_SEEDS - 1))
            return Sample(curve.at(frames), spread, PAPER_SEEDS)
    return None


def compare(ours: Sample, published: Sample) -> Comparison:
    """Apply the rule of the module's docstring."""
    difference = ours.mean - published.mean
    half = _half_width(ours, published)
    low, high = difference - half, difference + half
    margin = MARGIN * published.mean
    if published.mean < LEAST:
        outcome: Outcome = "too early"
    elif low >= -margin:
        outcome = "pass"
    elif high < -margin:
        outcome = "fail"
    else:
        outcome = "open"
    return Comparison(difference, low, high, margin, outcome, assumed=ours.n == 1)


def _half_width(ours: Sample, published: Sample) -> float:
    """Half of the two-sided interval of the difference of means."""
    m = published.n
    theirs = published.std**2 / m
    if ours.n == 1:
        return float(stats.t.ppf(SURE, m - 1) * math.sqrt(published.std**2 + theirs))
    own = ours.std**2 / ours.n
    if own + theirs == 0:
        return 0.0
    freedom = (own + theirs) ** 2 / (own**2 / (ours.n - 1) + theirs**2 / (m - 1))
    return float(stats.t.ppf(SURE, freedom) * math.sqrt(own + theirs))


def published_name(options: dict[str, Any]) -> str | None:
    """Return the published method that has these options, or None if there is none."""
    if options.get("obs", "image") != "image":
        return None
    agent, objective = options.get("agent", "dreamer"), options.get("objective", "reconstruction")
    return PUBLISHED.get(f"{agent}, {objective}")


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends `(N,)` of the 95% confidence interval of the mean over seeds of `values` `(S, N)`.

    Seeds that are NaN are left out. The interval is that of Student's t. It is NaN if fewer than three seeds are
    left, because two say too little about their spread.
    """
    if len(values) < 3:
        nothing = np.full(values.shape[1], np.nan)
        return nothing, nothing
    count = np.sum(~np.isnan(values), 0)
    few = count < 3
    safe = np.where(few, 0, values)
    mean, half = np.nanmean(safe, 0), t_half(np.nanstd(safe, 0, ddof=1), np.maximum(count, 3))
    half[few] = np.nan
    return mean - half, mean + half


def t_half(std: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """Return half the 95% confidence interval of a mean of `n` values with sample deviation `std`."""
    return stats.t.ppf(0.975, np.asarray(n) - 1) * std / np.sqrt(n)
