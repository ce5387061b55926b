import dataclasses

import pytest
import torch

from bench.small import TIMER
from dreamer.bench import measurement
from dreamer.bench.measurement import Timer, seconds_per_call


def test_calls_take_turns_after_a_warm_up() -> None:
    order: list[str] = []
    timer = dataclasses.replace(TIMER, repeats=2)
    times = timer.alternate({name: lambda name=name: order.append(name) for name in "ab"})
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 2, "b": 2}
    assert all(second > 0 for seconds in times.values() for second in seconds)


def test_calls_that_take_no_time_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "MOST_ROUNDS", 7)
    assert len(TIMER.alternate({"": lambda: None}, budget=60.0)[""]) == 7


def test_seconds_per_call_repeats_short_calls() -> None:
    calls: list[int] = []
    seconds = seconds_per_call(lambda: calls.append(sum(range(10_000))), torch.device("cpu"), budget=0.05)
    assert len(calls) > 2
    assert 0 < seconds < 0.05


def test_summary_has_median_and_quartiles() -> None:
    found = Timer(torch.device("cpu")).summary("a", "b", [1.0, 2.0, 3.0, 4.0, 100.0], "bytes")
    assert (found.low, found.median, found.high, found.count) == (2.0, 3.0, 4.0, 5)
    assert (found.floor, found.unit, found.title) == (None, "bytes", "a")


def test_floor_is_counted_operations_over_measured_speed() -> None:
    found = dataclasses.replace(TIMER, flops_per_s=100.0).summary("a", "b", [5.0], flops=200)
    assert (found.floor, found.flops, found.title) == (2.0, 200, "a, float32")
    assert dataclasses.replace(TIMER, flops_per_s=None).summary("a", "b", [5.0], flops=200).floor is None
