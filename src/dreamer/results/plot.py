"""Draw runs over the published curves of the same task (compare Figures 7 and 10 of the paper)."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamer.errors import UserError, writing
from dreamer.results.curves import Run, over_seeds
from dreamer.results.inputs import Method, read_inputs
from dreamer.results.published import (
    OFFICIAL,
    Curve,
    d4pg_from_states,
    published_curve,
    published_curves,
    published_score,
)
from dreamer.storage.atomic_file import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
TF2, PAPER, INK = "#3f6f9f", "#8a8a8a", "#333333"
OURS = ("#c8402f", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000")
"""Colors of our methods, which people who see fewer colors can tell apart (Okabe and Ito, 2008)."""
MARKERS = "osD^vPX"
"""One more than colors, so that the seventh method has not the look of the first."""
TRAINING, SEEDS, INTERVAL = (
    "training episodes",
    "seeds; their mean is thick",
    "95 % bootstrap interval of the mean",
)
"""What the legend calls the parts of our curves."""
USUAL_LEGEND = 0.6
"""Inches of height that the figure has for its legend in any case."""
MANY = 60
"""Evaluations from which on markers become smaller."""
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


def plot_runs(paths: Sequence[Path], out: Path, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Draw learning curves, one panel for each task, our evaluations over the published curves.

    `paths` are run directories, directories of runs, and scores files (`METHOD.csv`). Runs that differ only in task and
    seed are one method, with a color and a name of what is different in the others, or one of `labels`.

    - Our methods: each seed is thin, with a marker on every evaluation; the mean is thick, with a band for its 95 %
      bootstrap interval. Returns of training episodes are faint.
    - Official TF2 code: mean, with a band over the range of its seeds.
    - Paper: mean, with a band of one standard deviation.

    Published points are at the middle of their bins. An environment without published scores shows our curves alone.
    Runs of D4PG or A3C are drawn over the published scores of those.

    Returns a sentence for each path that could not be read.

    Raises:
        UserError: No path could be read, the number of labels is not that of the methods, the ending of `out` is not
            one of `FORMATS`, or the disk refuses.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"Cannot write {out.name!r}: let the file name end in {', '.join(FORMATS)}.")
    inputs = read_inputs([Path(path) for path in paths])
    methods = _labeled(inputs.methods, labels)
    with writing(out, "choose another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
    _figure(methods, out)
    return inputs.notes


def _labeled(methods: Sequence[Method], labels: Sequence[str]) -> Sequence[Method]:
    if labels and len(labels) != len(methods):
        found = ", ".join(repr(method.name) for method in methods)
        raise UserError(f"--labels must name {found}, in this order: got {len(labels)}, not {len(methods)}.")
    names = labels or [method.name for method in methods]
    return [replace(method, name=name) for method, name in zip(methods, names, strict=True)]


def _figure(methods: Sequence[Method], out: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = sorted({run.task for method in methods for run in method.runs})
    columns = min(len(tasks), 3 if len(tasks) != 4 else 2)
    rows = math.ceil(len(tasks) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(3.4 * columns, 5.2), 2.6 * rows + 0.9), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax, task in zip(axes.flat, tasks, strict=False):
            _panel(ax, task, methods)
        for ax in list(axes.flat)[len(tasks) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("return")
        figure.supxlabel("simulator frames", fontsize=9)
        _legend(figure, list(axes.flat), [method.name for method in methods])
        with atomic_file(out) as file:
            figure.savefig(file, format=out.suffix[1:].lower(), dpi=200)


def _legend(figure: "Figure", panels: Sequence["Axes"], own: Sequence[str]) -> None:
    """Put one legend above the panels: our `own` first, then what was published; a curve is shown with its band.

    It has as many columns as the figure is wide, and the figure becomes as high as it needs.
    """
    shown: dict[str, Any] = {}
    for ax in panels:
        bands = {band.get_gid(): band for band in ax.collections}
        for artist in (*ax.lines, *ax.collections):
            if not (label := str(artist.get_label())).startswith("_"):
                shown.setdefault(label, (bands[label], artist) if label in bands else artist)
    ours, general = (
        {label: shown.pop(label) for label in labels if label in shown}
        for labels in (own, (SEEDS, INTERVAL, TRAINING))
    )
    shown = ours | shown | general
    names = [textwrap.fill(label, int(13 * figure.get_figwidth())) for label in shown]
    settings: Any = {"loc": "outside upper left", "frameon": False, "fontsize": 8}
    for columns in (3, 2, 1):
        legend = figure.legend([*shown.values()], names, ncols=columns, **settings)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    height = legend.get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + max(0, height - USUAL_LEGEND))


def _panel(ax: "Axes", task: str, methods: Sequence[Method]) -> None:
    runs = [run for method in methods for run in method.by_task().get(task, [])]
    end = max(1, *(run.env_step[-1] for run in runs))
    agents = {method.options.get("agent") for method in methods if task in method.by_task()}
    known = bool(published_curves(task))
    for number, method in enumerate(methods):
        if own := method.by_task().get(task):
            _ours(ax, own, method.name, OURS[number % len(OURS)], MARKERS[number % len(MARKERS)])
    if len(agents) == 1 and (agent := agents.pop()) in ("d4pg", "a3c"):
        _published_baseline(ax, task, agent, end)
    elif known:
        _published(ax, task, end)
    ax.set_title(task.replace("_", " "), loc="left", fontsize=10)
    ax.set_title(_how_many(task, methods), loc="right", fontsize=8)
    ax.set_xlim(0, 1.04 * end)
    if known:
        ax.set_ylim(0, _top(ax))
    ax.grid(axis="y", color="#e9e9e9", linewidth=0.6)
    ax.locator_params(axis="x", nbins=5)
    ax.xaxis.set_major_formatter(_frames)


def _how_many(task: str, methods: Sequence[Method]) -> str:
    """Return the number of seeds of each method, in their order."""
    counts = [len(runs) for method in methods if (runs := method.by_task().get(task))]
    if len({*counts}) == 1:
        return f"{counts[0]} seed{'s' * (counts[0] > 1)}{' each' * (len(counts) > 1)}"
    return f"{', '.join(map(str, counts))} seeds"


def _ours(ax: "Axes", runs: Sequence[Run], name: str, color: str, marker: str) -> None:
    """Draw runs of one method: training episodes, seeds, and over several of them their mean."""
    points = {"color": color, "marker": marker, "markersize": 3.5 if len(runs[0].env_step) < MANY else 1.5}
    for run in [run for run in runs if run.train.size]:
        ax.plot(*run.train, color=color, linewidth=0.5, alpha=0.2, label=TRAINING, zorder=1.5)
    if len(runs) == 1:
        ax.plot(runs[0].env_step, runs[0].mean, linewidth=1.8, label=name, zorder=4, **points)
        return
    for run in runs:
        ax.plot(run.env_step, run.mean, linewidth=0.7, alpha=0.5, label=SEEDS, zorder=3, **points)
    seeds = over_seeds(runs)
    ax.plot(seeds.env_step, seeds.mean, linewidth=2.2, label=name, zorder=4, **points)
    if seeds.interval is not None:
        band = {"color": color, "alpha": 0.2, "linewidth": 0, "zorder": 2}
        ax.fill_between(seeds.env_step, *seeds.interval, label=INTERVAL, **band)


def _paper_curve(task: str, end: float) -> Curve:
    """Return the paper's curve: the finest that covers `end`, or else the longest."""
    curves = [c for c in published_curves(task) if c.method == "dreamer" and c.source != OFFICIAL]
    return next((c for c in curves if c.middle[-1] >= end), max(curves, key=lambda c: c.middle[-1]))


def _published(ax: "Axes", task: str, end: float) -> None:
    paper, official = _paper_curve(task, end), published_curve(task, source=OFFICIAL)
    assert official.seeds is not None
    seeds = np.nanmin(official.seeds, 0), np.nanmax(official.seeds, 0)
    _curve(
        ax, paper, (paper.mean - paper.std, paper.mean + paper.std), PAPER, "paper, one standard deviation"
    )
    _curve(ax, official, seeds, TF2, f"{OFFICIAL}, range of {len(official.seeds)} seeds")


def _published_baseline(ax: "Axes", task: str, agent: str, end: float) -> None:
    """Draw what is known of D4PG or A3C: the score after 1e8 frames, and D4PG's curves from state vectors."""
    if agent == "d4pg" and (curve := d4pg_from_states().get(task)):
        _curve(
            ax,
            curve,
            (curve.mean - curve.std, curve.mean + curve.std),
            PAPER,
            "D4PG from states, published, one standard deviation",
        )
    if (score := published_score(task, agent)) is not None:
        level = np.array([score, score])
        line = Curve(agent, "paper", 0, np.array([0, end]), level, 0 * level)
        seen = "states" if agent == "a3c" else "pixels"
        _curve(ax, line, None, TF2, f"published, from {seen}, after 100M frames")


def _curve(
    ax: "Axes", curve: Curve, band: tuple[np.ndarray, np.ndarray] | None, color: str, label: str
) -> None:
    if band is not None:
        ax.fill_between(curve.middle, *band, color=color, alpha=0.14, linewidth=0, gid=label)
    ax.plot(curve.middle, curve.mean, color=color, linewidth=1.2, label=label)


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
