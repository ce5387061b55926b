"""How many threads PyTorch takes by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dreamer.training import threads
from dreamer.training.threads import busy, idle_cores, set_threads


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of threads that PyTorch is told, on a machine where it may take eight."""
    numbers: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    return numbers


@pytest.mark.parametrize(("idle", "number"), [(0.2, 1), (2.8, 3), (16.0, 8)])
def test_as_many_threads_as_cores_are_idle(
    idle: float, number: int, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "idle_cores", lambda: idle)
    set_threads(0)
    set_threads(5)  # who asks for a number gets it
    assert taken == [number, 5]


def test_a_run_goes_on_with_as_many_as_before(
    tmp_path: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number adds in another order, and the run would not end with the same bits."""
    monkeypatch.setattr(threads, "idle_cores", lambda: 7.0)
    set_threads(0, tmp_path)
    (tmp_path / "machine.json").write_text(json.dumps([{"threads": 3}, {"threads": 2}]))
    set_threads(0, tmp_path)
    assert taken == [7, 2]


def test_idle_cores_are_some_of_those_there_are() -> None:
    assert 0 <= idle_cores() <= (os.cpu_count() or 1)


def test_systems_that_do_not_tell_count_as_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_idle_seconds", dict)
    assert idle_cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("load", "said"), [(1.0, ""), (7.25, "other programs want 7.2 cores of 2")])
def test_a_busy_machine_is_named(load: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert busy().startswith(said)
    assert bool(busy()) == bool(said)


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_leave_their_cores_to_others(given: str | None, policy: str) -> None:
    """OpenMP reads the variable when PyTorch is loaded, so it is set by the package's first line."""
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    variables |= {"OMP_WAIT_POLICY": given} if given else {}
    code = "import dreamer, os, sys; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == policy
