import io
from pathlib import Path

import pytest
from rich.console import Console

from dreamer.config import with_options
from dreamer.presets import preset
from dreamer.results import doctor
from dreamer.results.doctor import Check, duration, print_checks, run_checks, size


def by_name(checks):
    return {check.name: check for check in checks}


def test_a_machine_that_does(tmp_path):
    logdir = tmp_path / "runs" / "a"
    config = with_options(preset("debug"), {"device": "cpu"})
    checks = by_name(run_checks(config, logdir))
    assert [name for name, check in checks.items() if not check.ok] == []
    assert set(checks) == {"device", "precision", "processor", "drawing", "speed", "time", "memory", "disk"}
    assert "18 updates" in checks["time"].detail
    assert not logdir.parent.exists()  # measuring leaves nothing behind


def test_a_missing_gpu_is_said_once(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = with_options(preset("debug"), {"device": "cuda"})
    checks = by_name(run_checks(config, Path("runs/a")))
    assert not checks["device"].ok
    assert "--device cuda" in checks["device"].advice
    assert "precision" not in checks
    assert not checks["this run"].ok


def test_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: doctor.shutil._ntuple_diskusage(10, 9, 1))
    check = doctor._disk(doctor.Forecast(hours=1, learning=1, updates=1, disk=2**30), tmp_path / "a" / "b")
    assert not check.ok
    assert "1.0 GiB needed" in check.detail
    assert "--replay-size" in check.advice


def test_table():
    console = Console(file=io.StringIO(), width=80)
    print_checks(
        [Check("disk", False, "full [red]", "Free some space."), Check("device", True, "CPU")], console
    )
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert lines == ["no  disk    full [red]", "Free some space.", "ok  device  CPU"]


@pytest.mark.parametrize(("hours", "words"), [(0.5, "30 min"), (3.14, "3.1 h"), (60, "2.5 days")])
def test_duration(hours, words):
    assert duration(hours) == words


def test_size():
    assert (size(5 * 2**20), size(1.5 * 2**30)) == ("5 MiB", "1.5 GiB")
