"""Prepare the curves of the page as plain data: ours, and the published ones of the same tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamer.report.aggregate import THRESHOLDS, Aggregate
from dreamer.report.compare import PAPER_SEEDS, mean_interval, published_name, t_half
from dreamer.results.curves import Run, over_seeds
from dreamer.results.inputs import Method
from dreamer.results.published import OFFICIAL, Curve, published_curves, published_score

END = 5_050_000
"""Number of frames at which published curves are cut off."""
DRAWN = ("dreamer", "no_value", "planet")
"""Methods of the paper that are always drawn. Others are drawn only if one of ours is the same method."""
PAPER_LABELS = {
    "dreamer": "paper: Dreamer",
    "no_value": "paper: no value",
    "planet": "paper: PlaNet",
    "contrastive": "paper: contrastive",
    "reward_only": "paper: reward only",
}
LINES = {"d4pg": "D4PG at 1e8 frames", "a3c": "A3C at 1e8 frames"}
LOOKS_OF_OURS = 8
"""Number of colors and dashes in the style sheet; those of a ninth method are those of the first."""
HIGHEST = 1000


@dataclass(frozen=True)
class Series:
    """A line of the charts. `style` names its color and dashes in the style sheet and the script."""

    id: str
    label: str
    style: str


def series_of(methods: Sequence[Method]) -> list[Series]:
    """Return all lines that the charts may contain, ours first."""
    ours = [Series(f"ours{i}", method.name, f"ours{i % LOOKS_OF_OURS}") for i, method in enumerate(methods)]
    if not any(published_curves(run.task) for method in methods for run in method.runs):
        return ours
    paper = [Series(f"paper-{name}", PAPER_LABELS[name], name.replace("_", "-")) for name in _drawn(methods)]
    lines = [Series(name, label, name) for name, label in LINES.items()]
    return [*ours, Series("official", OFFICIAL, "official"), *paper, *lines]


def _drawn(methods: Iterable[Method]) -> list[str]:
    same = {published_name(method.options) for method in methods}
    return [name for name in PAPER_LABELS if name in DRAWN or name in same]


def panel(task: str, methods: Sequence[Method]) -> dict[str, Any]:
    """Return the chart of a task: curves with bands, single seeds, and horizontal lines.

    `bounded` says whether returns lie between 0 and 1000. `end` is the frame at which our curves end.
    """
    curves: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    end = 0
    for i, method in enumerate(methods):
        runs = method.by_task().get(task, [])
        if runs:
            curves[f"ours{i}"] = _ours(runs)
            seeds[f"ours{i}"] = [_points(run.env_step, run.mean) for run in runs] if _apart(runs) else []
            end = max(end, *(int(run.env_step[-1]) for run in runs))
    published = published_curves(task)
    for curve in published:
        key = "official" if curve.source == OFFICIAL else f"paper-{curve.method}"
        if (key == "official" or curve.method in _drawn(methods)) and key not in curves:
            curves[key] = _published(curve)
    scores = {name: published_score(task, name) for name in LINES}
    return {
        "task": task,
        "end": end,
        "bounded": bool(published),
        "curves": curves,
        "seeds": seeds,
        "lines": {name: score for name, score in scores.items() if score is not None},
    }


def _apart(runs: list[Run]) -> bool:
    """Whether each seed is drawn: if there is no band, or if the mean ends before some of the seeds."""
    return 1 < len(runs) < 3 or len({run.env_step[-1] for run in runs}) > 1


def _ours(runs: list[Run]) -> dict[str, list]:
    seeds = over_seeds(runs)
    if not len(seeds.env_step):  # one run ended before another began
        return _points(np.array([]), np.array([]))
    returns = np.stack([np.interp(seeds.env_step, run.env_step, run.mean) for run in runs])
    return _points(seeds.env_step, seeds.mean, *mean_interval(returns))


def _published(curve: Curve) -> dict[str, list]:
    if curve.seeds is not None:
        low, high = mean_interval(curve.seeds)
    else:
        half = t_half(curve.std * np.sqrt(PAPER_SEEDS / (PAPER_SEEDS - 1)), PAPER_SEEDS)
        low, high = curve.mean - half, curve.mean + half
    shown = curve.middle <= END
    bounded = (np.clip(band, 0, HIGHEST) for band in (low, high))
    return _points(curve.middle[shown], curve.mean[shown], *(band[shown] for band in bounded))


def _points(x: np.ndarray, y: np.ndarray, *band: np.ndarray) -> dict[str, list]:
    """Return the numbers of a curve as JSON takes them. A missing end of the band is None."""
    points = {"x": [int(value) for value in x], "y": [round(float(value), 1) for value in y]}
    for name, values in zip(("low", "high"), band, strict=False):
        points[name] = [None if np.isnan(value) else round(float(value), 1) for value in values]
    return points


def profiles(aggregates: Sequence[Aggregate], series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the performance profiles as charts, one for each number of frames."""
    ids = {one.label: one.id for one in series}
    charts = []
    for frames in dict.fromkeys(one.frames for one in aggregates):
        curves = {}
        for one in aggregates:
            if one.frames == frames:
                low, high = one.profile.interval or (np.full_like(THRESHOLDS, np.nan),) * 2
                points = _points(HIGHEST * THRESHOLDS, 100 * one.profile.share, 100 * low, 100 * high)
                curves[ids[one.name]] = points
        charts.append({"frames": frames, "curves": curves})
    return charts
