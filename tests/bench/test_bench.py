import dataclasses
import io

import pytest
from rich.console import Console

from bench.small import config
from dreamer.bench import paths
from dreamer.bench.bench import Extent, run_bench
from dreamer.bench.paths import UpdatePath
from dreamer.bench.report import Report, print_report, seconds
from dreamer.errors import UserError


@pytest.fixture(scope="module")
def report() -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamer.bench.figure.BUDGET", 0.0)
        return run_bench(config(num_envs=2), Extent(repeats=1, rounds=2, precisions=("float32", "bfloat16")))


def test_everything_is_measured(report):
    groups = {figure.group for figure in report.figures}
    assert groups == {
        "gradient step",
        "gradient step by stage",
        "networks of a gradient step alone",
        "acting",
        "environment",
        "replay",
        "training",
        "memory",
    }
    for figure in report.figures:
        assert 0 < figure.low <= figure.median <= figure.high
    assert len({figure.key for figure in report.figures}) == len(report.figures)
    assert {"device", "cores", "threads", "float32 products", "bfloat16 products"} <= report.machine.keys()
    assert report.options["num_envs"] == 2


def test_both_precisions_by_the_eager_path(report):
    totals = [figure.variant for figure in report.figures if figure.group == "gradient step"]
    assert [(v.device, v.precision, v.path) for v in totals] == [
        ("cpu", "float32", "eager"),
        ("cpu", "bfloat16", "eager"),
    ]


def test_floors_stand_beside_what_was_counted(report):
    for figure in report.figures:
        assert (figure.floor is not None) == bool(figure.flops or figure.bytes)
        assert figure.floor is None or figure.floor < figure.median


def test_environments_and_planner_are_there(report):
    names = {figure.name for figure in report.figures}
    assert {"decision", "physics alone", "picture alone", "decision in each of 2"} <= names
    assert {"policy step, 2 environments", "PlaNet's search"} <= names


def test_figures_of_a_group_stand_together(report):
    groups = [figure.group for figure in report.figures]
    assert groups == sorted(groups, key=groups.index)


def test_a_part_can_be_asked_for():
    found = run_bench(config(), Extent(repeats=1, subjects=("replay",)))
    assert {figure.group for figure in found.figures} == {"replay"}


def test_a_replay_on_the_device_is_measured_where_a_run_has_one():
    found = run_bench(config(replay_device="device"), Extent(repeats=1, subjects=("replay",)))
    assert [figure.name for figure in found.figures] == ["sampling", "batch gathered on the device"]


def test_what_was_measured_before_an_end_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("dreamer.bench.bench.environment", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_bench(
            config(), Extent(repeats=1, rounds=2, subjects=("update", "environment")), tmp_path / "bench.json"
        )
    assert [figure.group for figure in Report.read(tmp_path / "bench.json").figures] == [
        "gradient step",
        "memory",
    ]


@pytest.mark.parametrize(("fast", "measured"), [(True, {"eager", "other"}), (False, {"eager"})])
def test_without_fast_the_eager_path_alone_is_measured(fast, measured, monkeypatch):
    path = UpdatePath("other", lambda agent: agent.update)
    monkeypatch.setattr("dreamer.bench.paths.PATHS", [*paths.PATHS, path])
    found = run_bench(config(fast=fast), Extent(repeats=1, subjects=("update",)))
    assert {figure.variant.path for figure in found.figures} == measured


def test_an_agent_that_learns_nothing():
    with pytest.raises(UserError, match="random"):
        run_bench(config(agent="random"), Extent())


def test_json_comes_back_as_it_was(report, tmp_path):
    report.write(tmp_path / "bench.json")
    assert Report.read(tmp_path / "bench.json") == report


@pytest.mark.parametrize("content", ["", "{}", '{"machine": {}, "options": {}, "figures": [{"name": 1}]}'])
def test_a_file_of_something_else(content, tmp_path):
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match="give another"):
        Report.read(tmp_path / "bench.json")


def test_the_table(report):
    figure = report.figures[0]
    shown = dataclasses.replace(figure, median=0.25, low=0.2, high=0.3, count=3, floor=0.1)
    console = Console(file=io.StringIO(), width=120)
    print_report(dataclasses.replace(report, figures=[shown]), {shown.key: 1.5}, console)
    assert isinstance(console.file, io.StringIO)
    head, group, row = console.file.getvalue().splitlines()[-3:]
    assert head.split() == ["figure", "on", "median", "quartiles", "floor", "×", "floor", "×", "baseline"]
    assert group.strip() == "gradient step"
    assert row.split() == [
        "total",
        "cpu",
        "float32",
        "eager",
        "250",
        "ms",
        "200",
        "ms",
        "-",
        "300",
        "ms",
        "100",
        "ms",
        "2.5",
        "1.50",
    ]


@pytest.mark.parametrize(
    ("value", "words"), [(12.34, "12.3 s"), (0.00123, "1.23 ms"), (4.5e-5, "45 µs"), (1e-7, "0.1 µs")]
)
def test_seconds(value, words):
    assert seconds(value) == words
