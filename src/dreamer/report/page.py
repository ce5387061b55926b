"""Write the page: one HTML file with its script and data inside, and videos beside it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from dreamer.errors import writing
from dreamer.report import charts, provenance
from dreamer.report.aggregate import MOST, aggregates
from dreamer.report.compare import LEAST, MARGIN, SURE, Row, published_name, rows_of
from dreamer.report.videos import Video, copy_videos
from dreamer.results.inputs import Inputs, Method, read_inputs
from dreamer.results.published import published_score
from dreamer.storage.atomic_file import atomic_file

TEMPLATES = Path(__file__).parent / "templates"
NAME = "index.html"


@dataclass(frozen=True)
class Report:
    """The `page` that was written, and `notes` about inputs that could not be read."""

    page: Path
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A method compared with the official code at the milestone that most of its tasks have reached."""

    method: str
    frames: int
    tasks: int
    ours: float
    official: float
    at_or_above: int
    outcomes: dict[str, int]


def write_report(paths: Sequence[Path], out: Path) -> Report:
    """Write `out/index.html` from run directories, sweeps and scores files, and the videos beside it.

    What cannot be read is named on the page and in `notes`. The rest is shown.

    Raises:
        UserError: Nothing could be read, or the disk refuses.
    """
    inputs = read_inputs([Path(path) for path in paths])
    page = Path(out) / NAME
    with writing(page, "choose another --out"):
        page.parent.mkdir(parents=True, exist_ok=True)
    html = render(inputs, copy_videos(inputs.methods, Path(out)))
    with atomic_file(page) as file:
        file.write(html.encode())
    return Report(page, inputs.notes)


def render(inputs: Inputs, videos: Sequence[Video]) -> str:
    """Return the page as text."""
    methods = inputs.methods
    rows = {method.name: _rows(method) for method in methods}
    tasks = sorted({run.task for method in methods for run in method.runs})
    series, summed = charts.series_of(methods), aggregates(methods)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"thousands": _thousands, "title": _title, "number": _number, "short": _short}
    data = {
        "series": [vars(one) for one in series],
        "panels": [charts.panel(task, methods) for task in tasks],
        "profiles": charts.profiles(summed, series),
    }
    return environment.get_template("page.html").render(
        methods=methods,
        tasks=tasks,
        published=any(panel["bounded"] for panel in data["panels"]),
        rows=rows,
        milestones=_milestones(rows),
        reach=max((_reach(row) for group in rows.values() for row in group), default=1.0),
        summaries=[one for method in methods if (one := _summary(method, rows[method.name]))],
        final={
            method.name: {task: published_score(task, published_name(method.options) or "") for task in tasks}
            for method in methods
        },
        aggregates=summed,
        videos=videos,
        notes=inputs.notes,
        series=series,
        drawable={key for panel in data["panels"] for key in (*panel["curves"], *panel["lines"])},
        runs={method.name: provenance.made(method) for method in methods},
        unlike={method.name: provenance.unlike_the_paper(method) for method in methods},
        machines={method.name: provenance.machines(method) for method in methods},
        options={method.name: json.dumps(method.options, indent=1) for method in methods},
        hours=provenance.hours(methods),
        rule={"margin": MARGIN, "sure": SURE, "least": LEAST},
        version=version("dream-to-control"),
        style=_text("style.css"),
        scripts=[_text("vendor/d3.min.js"), _text("vendor/plot.min.js"), _text("page.js")],
        license=_text("vendor/LICENSE"),
        # A `<` in a name could end the script element.
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
    )


def _rows(method: Method) -> list[Row]:
    published = published_name(method.options)
    return [row for task, runs in method.by_task().items() for row in rows_of(task, runs, published)]


def _milestones(rows: dict[str, list[Row]]) -> list[int]:
    """Return the milestones that have a table; 0 stands for runs that reached none."""
    return sorted({0 if row.so_far else row.frames for group in rows.values() for row in group})


def _reach(row: Row) -> float:
    """Return how far the interval of a row reaches from 0, for the scale of the small charts in the table."""
    shown = row.to_official or row.to_paper
    return min(MOST, max(abs(shown.low), abs(shown.high))) if shown else 0.0


def _summary(method: Method, rows: Sequence[Row]) -> Summary | None:
    """Summarize the milestone that most tasks have reached. If two have as many tasks, take the later one."""
    compared = [row for row in rows if row.to_official and not row.so_far]
    if not compared:
        return None
    frames = [row.frames for row in compared]
    most = max(set(frames), key=lambda at: (frames.count(at), at))
    chosen = [row for row in compared if row.frames == most]
    outcomes = [row.to_official.outcome for row in chosen if row.to_official]
    return Summary(
        method.name,
        most,
        len(chosen),
        float(np.mean([row.ours.mean for row in chosen])),
        float(np.mean([row.official.mean for row in chosen if row.official])),
        sum(row.to_official.difference >= 0 for row in chosen if row.to_official),
        {name: outcomes.count(name) for name in ("pass", "fail", "open", "too early")},
    )


def _text(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def _short(frames: float) -> str:
    """Shorten a number of frames: 100,000 -> 100k, 1,000,000 -> 1M."""
    return f"{frames / 1e6:g}M" if frames >= 1e6 else f"{frames / 1e3:g}k"


def _title(task: str) -> str:
    return task.replace("_", " ")


def _number(value: float | None, digits: int = 0, sign: bool = False) -> str:
    """Format a number with a true minus sign. A dash stands for a missing number."""
    if value is None or np.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # makes -0.0 a 0.0
    text = f"{rounded:+,.{digits}f}" if sign else f"{rounded:,.{digits}f}"
    return text.replace("-", "\u2212")
