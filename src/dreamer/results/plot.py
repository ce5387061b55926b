"""Draw runs over the published curves of the same task (compare Figures 7 and 10 of the paper)."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamer.errors import UserError, writing
from dreamer.results.curves import Run, by_task, over_seeds
from dreamer.results.published import (
    OFFICIAL,
    Curve,
    d4pg_from_states,
    published_curve,
    published_curves,
    published_score,
)
from dreamer.results.scores import read_curves
from dreamer.storage.atomic_file import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
OURS, TF2, PAPER, INK = "#c8402f", "#3f6f9f", "#8a8a8a", "#333333"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#777777",
    "ytick.color": "#777777",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.fonttype": "none",
}


def plot_runs(paths: Sequence[Path], out: Path) -> None:
    """Draw learning curves, one panel for each task, our evaluations over the published curves.

    `paths` are run directories and scores files (`METHOD.csv`).

    - Ours: each seed is thin, the mean is thick.
    - Official TF2 code: mean, with a band over the range of its seeds.
    - Paper: mean, with a band of one standard deviation.

    Published points are at the middle of their bins. An environment without published scores shows our curves alone.
    Runs of D4PG or A3C are drawn over the published scores of those.

    Raises:
        UserError: A path is neither a run with an evaluation nor a scores file, the ending of `out` is not
            one of `FORMATS`, or the disk refuses.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"Cannot write {out.name!r}: let the file name end in {', '.join(FORMATS)}.")
    groups = by_task([run for path in paths for run in read_curves(Path(path))])
    if not groups:
        raise UserError("Nothing to plot: name at least one run directory or scores file.")
    with writing(out, "choose another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
    _figure(groups, out)


def _figure(groups: dict[str, list[Run]], out: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(groups), 3 if len(groups) != 4 else 2)
    rows = math.ceil(len(groups) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.4 * columns, 4.4), 2.6 * rows + 0.45), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax, (task, runs) in zip(axes.flat, groups.items(), strict=False):
            _panel(ax, task, runs)
        for ax in list(axes.flat)[len(groups) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("return")
        figure.supxlabel("simulator frames", fontsize=9)
        _legend(figure, max(axes.flat, key=lambda ax: len(ax.collections)))
        with atomic_file(out) as file:
            figure.savefig(file, format=out.suffix[1:].lower(), dpi=200)


def _legend(figure: "Figure", ax: "Axes") -> None:
    """Put the legend in one line above the panels. A curve is shown with its band."""
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")][::-1]
    bands = list(ax.collections)[::-1]
    handles = [lines[0], *zip(bands, lines[1:], strict=True)]
    labels = [str(line.get_label()) for line in lines]
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)


def _panel(ax: "Axes", task: str, runs: list[Run]) -> None:
    end = max(1, *(run.env_step[-1] for run in runs))
    agents = {json.loads(run.options or "{}").get("agent") for run in runs}
    known = bool(published_curves(task))
    if len(agents) == 1 and (agent := agents.pop()) in ("d4pg", "a3c"):
        _published_baseline(ax, task, agent, end)
    elif known:
        _published(ax, task, end)
    _ours(ax, runs)
    ax.set_title(task.replace("_", " "), loc="left", fontsize=10)
    ax.set_title(how_many(runs), loc="right", fontsize=8, color=OURS)
    ax.set_xlim(0, 1.04 * end)
    if known:
        ax.set_ylim(0, _top(ax))
    ax.grid(axis="y", color="#e9e9e9", linewidth=0.6)
    ax.locator_params(axis="x", nbins=5)
    ax.xaxis.set_major_formatter(_frames)


def how_many(runs: list[Run]) -> str:
    """Return the number of seeds, or of runs if the runs differ in more than the seed, as text."""
    alike = len({run.options for run in runs}) == 1
    noun = "seed" if alike else "run"
    return f"{len(runs)} {noun}" + ("s" if len(runs) > 1 else "")


def _paper_curve(task: str, end: float) -> Curve:
    """Return the paper's curve: the finest that covers `end`, or else the longest."""
    curves = [c for c in published_curves(task) if c.method == "dreamer" and c.source != OFFICIAL]
    return next((c for c in curves if c.middle[-1] >= end), max(curves, key=lambda c: c.middle[-1]))


def _published(ax: "Axes", task: str, end: float) -> None:
    paper, official = _paper_curve(task, end), published_curve(task, source=OFFICIAL)
    assert official.seeds is not None
    seeds = np.nanmin(official.seeds, 0), np.nanmax(official.seeds, 0)
    _curve(ax, paper, (paper.mean - paper.std, paper.mean + paper.std), PAPER, "paper")
    _curve(ax, official, seeds, TF2, OFFICIAL)


def _published_baseline(ax: "Axes", task: str, agent: str, end: float) -> None:
    """Draw what is known of D4PG or A3C: the score after 1e8 frames, and D4PG's curves from state vectors."""
    if agent == "d4pg" and (curve := d4pg_from_states().get(task)):
        _curve(
            ax, curve, (curve.mean - curve.std, curve.mean + curve.std), PAPER, "D4PG from states, published"
        )
    if (score := published_score(task, agent)) is not None:
        level = np.array([score, score])
        line = Curve(agent, "paper", 0, np.array([0, end]), level, 0 * level)
        seen = "states" if agent == "a3c" else "pixels"
        _curve(ax, line, (level, level), TF2, f"published, from {seen}, after 100M frames")


def _curve(ax: "Axes", curve: Curve, band: tuple[np.ndarray, np.ndarray], color: str, label: str) -> None:
    ax.fill_between(curve.middle, *band, color=color, alpha=0.14, linewidth=0)
    ax.plot(curve.middle, curve.mean, color=color, linewidth=1.2, label=label)


def _ours(ax: "Axes", runs: list[Run]) -> None:
    if len(runs) > 1:
        for run in runs:
            ax.plot(run.env_step, run.mean, color=OURS, linewidth=0.7, alpha=0.5)
    seeds = over_seeds(runs)
    ax.plot(seeds.env_step, seeds.mean, color=OURS, linewidth=2.0, label="ours", solid_capstyle="round")


def _top(ax: "Axes") -> float:
    """Return the upper end of the return axis: 1000, the highest return, unless the visible lines stay far below."""
    visible = np.linspace(*ax.get_xlim(), 200)
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in ax.lines]
    highest = max(np.interp(visible, x, y).max() for x, y in lines if len(x))
    return 1030 if highest > 600 else max(1.25 * highest, 10)


def _frames(value: float, _: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value else "0"
