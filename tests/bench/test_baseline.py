import dataclasses

import pytest

from dreamer.bench.baseline import other_machine, regression, slowdowns
from dreamer.bench.figure import Figure, Unit, Variant
from dreamer.bench.report import Report
from dreamer.errors import UserError

EAGER = Variant("cpu", "float32", "eager")


def figure(name: str, median: float, unit: Unit = "s", variant: Variant = EAGER) -> Figure:
    return Figure("gradient step", name, variant, unit, median, median, median, 3)


def report(*figures, **options):
    machine = {"device": "CPU", "cores": 2, "load": "0.1"}
    return Report(machine, {"horizon": 15, "steps": 1} | options, list(figures))


def test_more_seconds_and_fewer_frames_are_worse():
    before = report(figure("total", 2.0), figure("training", 100.0, "frames/s"), figure("gone", 1.0))
    now = report(figure("total", 3.0), figure("training", 50.0, "frames/s"), figure("new", 1.0))
    ratios = {name: ratio for (_, name, _), ratio in slowdowns(now, before).items()}
    assert ratios == {"total": 1.5, "training": 2.0}


def test_variants_are_told_apart():
    other = dataclasses.replace(EAGER, path="captured")
    before = report(figure("total", 2.0), figure("total", 1.0, variant=other))
    now = report(figure("total", 4.0), figure("total", 1.0, variant=other))
    assert [*slowdowns(now, before).values()] == [2.0, 1.0]


def test_a_regression_is_one_sentence():
    now, before = (
        report(figure("total", 3.0), figure("part", 1.0)),
        report(figure("total", 2.0), figure("part", 1.0)),
    )
    ratios = slowdowns(now, before)
    assert regression(ratios, tolerance=1.5) is None
    assert regression(ratios, tolerance=1.3) == (
        "Worse than the baseline by more than 1.3 times: total of gradient step (float32, eager) 1.50 times."
    )


def test_other_options_cannot_be_compared():
    with pytest.raises(UserError, match=r"horizon 15 and 7"):
        slowdowns(report(figure("total", 1.0), horizon=7), report(figure("total", 1.0)))
    assert slowdowns(report(figure("total", 1.0), steps=9), report(figure("total", 1.0)))  # changes no figure
    assert slowdowns(report(figure("total", 1.0), newer=9), report(figure("total", 1.0)))


def test_nothing_in_common():
    with pytest.raises(UserError, match="none of these figures"):
        slowdowns(report(figure("total", 1.0)), report(figure("other", 1.0)))


def test_another_machine_is_named():
    before = report(figure("total", 1.0))
    now = dataclasses.replace(before, machine={"device": "H200", "cores": 2, "load": "9"})
    assert other_machine(now, before) == ["device was CPU, now H200"]
