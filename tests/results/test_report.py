import pytest

from dreamer.errors import UserError
from dreamer.results.report import results_table


def test_rows(make_run):
    runs = [
        make_run("a", "dmc:walker_stand", {50_000: 1.0, 100_000: 500.0}, seed=0),
        make_run("b", "dmc:walker_stand", {50_000: 1.0, 100_000: 400.0}, seed=1),
        make_run("c", "dmc:walker_stand", {50_000: 123.4}, seed=2),
        make_run("d", "gym:Mine-v0", {1000: 7.0}),
    ]
    head, _, *rows = results_table(runs).splitlines()
    assert head.startswith("| task | seeds | frames | ours |")
    assert rows == [
        "| gym:Mine-v0 | 1 | 1,000 | 7 | - | - |",
        "| walker stand | 1 | 50,000 | 123 | 301 ± 75 | 978 |",
        "| walker stand | 2 | 100,000 | 450 ± 50 | 478 ± 77 | 978 |",
    ]


def test_runs_with_other_options_are_not_averaged(make_run):
    runs = [
        make_run("a", "dmc:walker_stand", {100_000: 500.0}, seed=0, threads=1, units=200),
        make_run("b", "dmc:walker_stand", {100_000: 400.0}, seed=1, threads=2, units=200),
        make_run("c", "dmc:walker_stand", {100_000: 100.0}, seed=2, threads=1, units=400),
    ]
    rows = results_table(runs).splitlines()[2:]
    assert [row.split(" | ")[1:4:2] for row in rows] == [["2", "450 ± 50"], ["1", "100"]]


def test_no_runs():
    with pytest.raises(UserError, match="No results"):
        results_table([])
