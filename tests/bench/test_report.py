import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dreamer.bench.measurement import Measurement, Unit
from dreamer.bench.report import Report, amount, check_same_options, heading, regression, row, slowdowns
from dreamer.errors import UserError


def measurement(
    name: str, median: float, unit: Unit = "s", precision: str = "float32", **others: Any
) -> Measurement:
    return Measurement(
        "gradient step", name, precision, unit, median, 0.9 * median, 1.1 * median, 3, **others
    )


def report(*measurements: Measurement, **options: Any) -> Report:
    machine = {"device": "CPU", "processor": "of a long name " * 8, "cores": 2, "load": "0.1"}
    return Report(machine, {"horizon": 15, "steps": 1} | options, list(measurements))


def test_json_round_trip(tmp_path: Path) -> None:
    before = report(measurement("plain", 2.0, floor=1.0, flops=10), measurement("fast", 1.0))
    before.write(tmp_path / "bench.json")
    assert Report.read(tmp_path / "bench.json") == before


@pytest.mark.parametrize(
    "content", ["", "{}", '{"machine": {}, "options": {}, "measurements": [{"name": 1}]}']
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match="give another"):
        Report.read(tmp_path / "bench.json")


def test_more_seconds_and_less_speed_are_worse() -> None:
    before = report(
        measurement("step", 2.0), measurement("speed", 100.0, "frames/s"), measurement("ratio", 2.0, "times")
    )
    now = report(
        measurement("step", 3.0), measurement("speed", 50.0, "frames/s"), measurement("ratio", 4.0, "times")
    )
    assert {m.name: ratio for m, ratio in slowdowns(now, before).items()} == {
        "step": 1.5,
        "speed": 2.0,
        "ratio": 0.5,
    }


def test_measurements_are_compared_in_equal_precision() -> None:
    before = report(measurement("step", 2.0), measurement("step", 1.0, precision="bfloat16"))
    now = report(
        measurement("step", 4.0), measurement("step", 1.0, precision="bfloat16"), measurement("new", 1.0)
    )
    assert [*slowdowns(now, before).values()] == [2.0, 1.0]


def test_regression_is_one_sentence() -> None:
    before = report(measurement("plain", 2.0), measurement("fast", 1.0), measurement("slow", 1.0))
    now = report(measurement("plain", 3.0), measurement("fast", 1.0), measurement("slow", 2.0))
    ratios = slowdowns(now, before)
    assert not regression(ratios, tolerance=2.0)
    assert regression(ratios, tolerance=1.3) == (
        "Worse than the baseline by more than 1.3 times: gradient step, float32: slow 2.00 times;"
        " gradient step, float32: plain 1.50 times."
    )


def test_other_options_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="horizon 15 and 7"):
        check_same_options(report(horizon=7), report())
    check_same_options(report(steps=9), report())  # changes no measurement
    check_same_options(report(newer=9), report())


def test_a_measurement_is_one_line_of_79_columns_in_ascii() -> None:
    for value in (1e-7, 0.9994, 0.99951, 0.0009999, 12.3, 999.4, 1234.0):
        m = measurement("imagined heads backward", value, floor=value / 1234, flops=1)
        line = row(m, 12.34)
        assert len(line) <= 79
        assert line.isascii()
        assert len(line.split("  ")) > 4  # nothing touches its neighbor
    line = row(measurement("fast", 0.25, floor=0.1), 1.5)
    assert line.split() == ["fast", "250", "ms", "225", "-", "275", "ms", "100", "ms", "2.5", "1.50"]
    assert row(dataclasses.replace(measurement("memory", 2**30, "bytes"), count=1)).split() == [
        "memory",
        "1.0",
        "GiB",
    ]


def test_heading_names_machine_and_baseline() -> None:
    lines = heading(report(), report()).splitlines()
    assert all(len(line) <= 79 for line in lines)
    assert [line.split(":")[0] for line in lines if ":" in line] == ["machine", "baseline"]
    assert lines[-1].split() == ["median", "quartiles", "floor", "x", "floor", "x", "base"]
    assert "base" not in heading(report(), None)


@pytest.mark.parametrize(
    ("unit", "values", "words"),
    [
        ("s", [12.34], "12.3 s"),
        ("s", [0.00123], "1.23 ms"),
        ("s", [4.5e-5], "45 us"),
        ("s", [1e-7], "0.1 us"),
        ("s", [0.98, 1.02], "0.98 - 1.02 s"),
        ("s", [1234.0], "1234 s"),
        ("frames/s", [74.123], "74.1/s"),
        ("TFLOP/s", [0.0226], "22.6 G/s"),
        ("TFLOP/s", [798.0], "798 T/s"),
        ("times", [1.5231], "1.52 x"),
        ("bytes", [3.3 * 2**30], "3.3 GiB"),
    ],
)
def test_amount(unit: Unit, values: list[float], words: str) -> None:
    assert amount(unit, *values) == words
