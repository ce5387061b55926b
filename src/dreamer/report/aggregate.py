"""Aggregate the scores of many tasks into one number with its uncertainty.

Interquartile mean, probability of improvement and performance profile are those of Agarwal et al., "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021). The intervals come from its
stratified bootstrap: seeds are drawn anew with replacement within each task, and tasks are kept. Every task has the
same weight, however many seeds it has.

The authors' package `rliable` gives the same numbers if all tasks have the same number of seeds. It is not used
because it requires that, and because release 1.2.0 cannot be imported together with pandas 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dreamer.report.compare import MILESTONES, official_at, published_name, score_at
from dreamer.results.curves import LEAST_SEEDS, RESAMPLED
from dreamer.results.inputs import Method
from dreamer.results.published import OFFICIAL

MOST = 1000.0
"""Highest return of a task of the Control Suite. Scores are divided by it."""
SEED = 0
THRESHOLDS = np.linspace(0, 1, 51)

Scores = Sequence[np.ndarray]
"""Scores of a method: an array for each task, `(seeds,)` or `(R, seeds)`, divided by `MOST`; R is `RESAMPLED`."""
Statistic = Callable[[Scores], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval, which is None if a task has fewer than `LEAST_SEEDS` seeds."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Profile:
    """Share of runs with a score above each of `THRESHOLDS`, `(51,)`, and its interval."""

    share: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Aggregate:
    """Scores of a method over `tasks` at `frames`, and the probability of improvement over the official code."""

    name: str
    frames: int
    tasks: int
    seeds: str
    iqm: Estimate
    mean: Estimate
    improvement: Estimate | None
    profile: Profile


def aggregates(methods: Sequence[Method]) -> list[Aggregate]:
    """Aggregate each method, and the official code on the same tasks, at every milestone reached.

    Only tasks of the paper count, and only milestones that the official code reached as well.
    """
    found: list[Aggregate] = []
    for frames in MILESTONES:
        beside: set[tuple[str, ...]] = set()
        for method in methods:
            tasks, scores, official = _scores(method, frames)
            comparable = published_name(method.options) == "dreamer"
            if tasks:
                found.append(_aggregate(method.name, frames, scores, official if comparable else None))
            if tasks and comparable and tasks not in beside:
                found.append(_aggregate(OFFICIAL, frames, official, None))
                beside.add(tasks)
    return found


def _scores(method: Method, frames: int) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray]]:
    """Return the tasks that the method and the official code have at `frames`, and the scores of both."""
    found = []
    for task, runs in method.by_task().items():
        official = official_at(task, frames)
        reached = [score_at(run, frames) for run in runs if run.env_step[-1] >= frames]
        if official and reached:
            found.append((task, np.array(reached) / MOST, np.array(official.seeds) / MOST))
    return (
        tuple(task for task, _, _ in found),
        [ours for _, ours, _ in found],
        [theirs for _, _, theirs in found],
    )


def _aggregate(name: str, frames: int, scores: Scores, against: Scores | None) -> Aggregate:
    counts = sorted({len(task) for task in scores})
    return Aggregate(
        name,
        frames,
        len(scores),
        f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}",
        estimate(iqm, scores),
        estimate(mean, scores),
        estimate_improvement(scores, against) if against is not None else None,
        profile(scores),
    )


def estimate(statistic: Statistic, scores: Scores) -> Estimate:
    """Return a statistic of some scores with its bootstrap interval."""
    value = float(statistic([task[None] for task in scores])[0])
    return Estimate(value, _interval(statistic(resampled(scores))) if _enough(scores) else None)


def estimate_improvement(scores: Scores, against: Scores) -> Estimate:
    """Return the `improvement` over other scores with its bootstrap interval."""
    value = float(improvement([task[None] for task in scores], [task[None] for task in against])[0])
    if not (_enough(scores) and _enough(against)):
        return Estimate(value, None)
    return Estimate(value, _interval(improvement(resampled(scores), resampled(against, SEED + 1))))


def profile(scores: Scores) -> Profile:
    """Return the performance profile of some scores with its bootstrap interval at each threshold."""
    share = above(scores, THRESHOLDS)
    if not _enough(scores):
        return Profile(share, None)
    drawn = above(resampled(scores), THRESHOLDS)
    return Profile(share, (np.percentile(drawn, 2.5, axis=0), np.percentile(drawn, 97.5, axis=0)))


def resampled(scores: Scores, seed: int = SEED) -> list[np.ndarray]:
    """Draw the seeds of each task anew, with replacement: `(seeds,)` -> `(R, seeds)` for each task."""
    rng = np.random.default_rng(seed)
    return [task[rng.integers(len(task), size=(RESAMPLED, len(task)))] for task in scores]


def mean(scores: Scores) -> np.ndarray:
    """Return the mean over tasks of the mean over seeds, `(R,)`."""
    return np.mean([task.mean(-1) for task in scores], axis=0)


def iqm(scores: Scores) -> np.ndarray:
    """Return the interquartile mean `(R,)`, which is the mean of the middle half of all scores."""
    weights = np.concatenate([np.full(task.shape[-1], 1 / task.shape[-1]) for task in scores]) / len(scores)
    pooled = np.concatenate(list(scores), axis=-1)
    order = np.argsort(pooled, axis=-1)
    upper = np.cumsum(weights[order], axis=-1)
    lower = upper - weights[order]
    middle = np.clip(np.minimum(upper, 0.75) - np.maximum(lower, 0.25), 0, None)
    return 2 * np.sum(middle * np.take_along_axis(pooled, order, -1), axis=-1)


def improvement(scores: Scores, against: Scores) -> np.ndarray:
    """Return the probability `(R,)` that a run beats a run of the other method on the same task.

    A tie counts half.
    """
    ahead = [np.sign(x[..., :, None] - y[..., None, :]) for x, y in zip(scores, against, strict=True)]
    return np.mean([(1 + sign.mean((-2, -1))) / 2 for sign in ahead], axis=0)


def above(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Return the share of scores above each of T thresholds, averaged over tasks: `(T,)` or `(R, T)`."""
    return np.mean([(task[..., None, :] > thresholds[:, None]).mean(-1) for task in scores], axis=0)


def _enough(scores: Scores) -> bool:
    return all(len(task) >= LEAST_SEEDS for task in scores)


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
