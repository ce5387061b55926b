from pathlib import Path
from typing import Any

import pytest

from bench.small import small_run
from dreamer.bench import doctor
from dreamer.bench.doctor import Check, run_checks, text
from dreamer.bench.forecast import AgentCost
from dreamer.config import with_options
from dreamer.presets import preset


@pytest.fixture(autouse=True)
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "seconds_per_step", lambda _: 0.03)
    monkeypatch.setattr(doctor, "time_agent", lambda *_: AgentCost(0.5, 0.01))
    monkeypatch.setattr(doctor, "speed_of_workers", lambda *_: 1000.0)
    monkeypatch.setattr(doctor, "rehearse", lambda _: ({"process memory": 2**30}, 2**20))


def checks(config: Any, logdir: Path = Path("runs/a")) -> dict[str, Check]:
    return {check.name: check for check in run_checks(config, logdir)}


def test_fit_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logdir = tmp_path / "runs" / "a"
    assert doctor.doctor(small_run(), logdir) == 0
    found = checks(small_run(), logdir)
    assert list(found) == ["machine", "rendering", "speed", "time", "memory", "disk"]
    assert "18 updates" in found["time"].detail
    assert "CPU, float32" in found["machine"].detail
    assert found["memory"].detail == "1.0 GiB of process memory"
    assert found["disk"].detail.startswith(f"1 MiB needed for {logdir}, ")
    assert not logdir.parent.exists()  # nothing is written
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isascii() and len(line) <= 79 for line in lines if str(tmp_path) not in line)
    assert sum(line.startswith("ok") for line in lines) == 6


def test_workers_of_a3c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_options(preset("laptop", agent="a3c"), {"steps": 3_600_000})
    found = checks(config, tmp_path)
    assert list(found) == ["machine", "rendering", "speed", "time", "memory", "disk"]
    assert found["speed"].detail.startswith("1,000 frames per second of 8 workers on ")
    assert found["time"].detail == "1.0 h for 3,600,000 frames"
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2**20)
    assert "--workers" in checks(config, tmp_path)["memory"].advice


def test_missing_gpu_ends_the_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert doctor.doctor(small_run(device="cuda"), Path("runs/a")) == 1
    assert capsys.readouterr().out.startswith("NO  machine    There is no CUDA GPU")
    found = checks(small_run(device="cuda"))
    assert list(found) == ["machine"]
    assert "leave out --device cuda" in found["machine"].advice.lower()


def test_busy_machine_and_large_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert "--preset laptop" not in checks(preset("paper", agent="d4pg"))["machine"].advice
    advice = checks(small_run(device="auto", cnn_depth=32))["machine"].advice
    assert "--preset laptop" in advice
    assert "1000.0 cores busy" in advice


@pytest.mark.parametrize(("render", "advised"), [("canonical", True), ("fast", False)])
def test_slow_rendering(render: str, advised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_backend", lambda: "egl")
    config = small_run(env="dmc:walker_walk", render=render)
    (check,) = doctor._rendering(config, Path())
    assert check.detail == "egl; 30.0 ms per agent step of dmc:walker_walk"
    assert ("--render fast" in check.advice) == advised
    (states,) = doctor._rendering(small_run(obs="state"), Path())
    assert "not needed" in states.detail


def test_full_disk_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: doctor.shutil._ntuple_diskusage(10, 9, 1))
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2**20)
    found = checks(small_run(), tmp_path / "a" / "b")
    assert not found["disk"].ok
    assert "--replay-size" in found["disk"].advice
    assert not found["memory"].ok
    assert "--batch-size" in found["memory"].advice


def test_text_is_wrapped_under_its_name() -> None:
    lines = text(Check("disk", "word " * 20, "Free some space.", ok=False)).splitlines()
    assert lines[0].startswith("NO  disk       word word")
    assert lines[1].startswith(" " * 15 + "word")
    assert lines[-1] == " " * 15 + "Free some space."
    assert max(map(len, lines)) <= 79
