import json
from pathlib import Path
from typing import Any

import pytest

from bench.small import small_run
from dreamer.bench import run
from dreamer.bench.report import Report
from dreamer.bench.run import bench
from dreamer.config import with_options
from dreamer.errors import UserError
from dreamer.presets import preset


def test_everything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    config = small_run(num_envs=2, train_every=20, train_steps=1)
    assert bench(config, path, repeats=1, rounds=2, precisions=("float32", "bfloat16")) == 0
    found = Report.read(path)
    titles = list(dict.fromkeys(m.title for m in found.measurements))
    learning = ("this machine", "gradient step", "training", "parts of a gradient step")
    twice = [f"{group}, {precision}" for precision in ("float32", "bfloat16") for group in learning]
    assert titles == [*twice, "acting", "environment", "replay"]
    assert len({(m.title, m.name) for m in found.measurements}) == len(found.measurements)
    assert all(0 < m.low <= m.median <= m.high for m in found.measurements)
    assert all((m.floor is not None) == bool(m.flops) for m in found.measurements)
    assert found.options["num_envs"] == 2
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 79 and line.isascii() for line in lines)
    table = lines[lines.index("this machine, float32") :]
    assert len(table) == len(titles) + len(found.measurements)


def test_one_subject(tmp_path: Path) -> None:
    bench(small_run(), tmp_path / "bench.json", repeats=1, only=("acting",))
    titles = {m.title for m in Report.read(tmp_path / "bench.json").measurements}
    assert titles == {"this machine, float32", "acting"}


def test_agent_that_learns_from_transitions_is_measured(tmp_path: Path) -> None:
    subjects: tuple[run.Subject, ...] = ("update", "training", "parts", "replay")
    settings = small_run(agent="d4pg", obs="state", batch_size=4)
    bench(settings, tmp_path / "bench.json", repeats=1, rounds=2, only=subjects)
    names = {m.name for m in Report.read(tmp_path / "bench.json").measurements}
    assert {"plain", "fast", "frames per second", "batch drawn", "batch on the device"} <= names


def test_a3c_is_measured(tmp_path: Path) -> None:
    config = with_options(preset("debug", agent="a3c"), {"time_limit": 20})
    assert bench(config, tmp_path / "bench.json", repeats=1, rounds=2) == 0
    found = {m.group for m in Report.read(tmp_path / "bench.json").measurements}
    assert found == {"this machine", "training", "acting", "environment"}
    with pytest.raises(UserError, match="nothing of this to measure of --agent a3c"):
        bench(config, only=("update",))


def test_measurements_before_a_failure_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "acting", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench(small_run(), tmp_path / "bench.json", repeats=1, only=("update", "acting"))
    names = [m.name for m in Report.read(tmp_path / "bench.json").measurements]
    assert names == ["matrix product", "plain", "fast", "plain / fast", "process memory"]


def test_regression_ends_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    bench(small_run(), path, repeats=1, only=("acting",))
    stored = path.read_text()
    for factor, status in ((1e6, 0), (1e-6, 1)):
        content: dict[str, Any] = json.loads(stored)
        for measurement in content["measurements"]:
            measurement["median"] *= factor if measurement["unit"] == "s" else 1 / factor
        path.write_text(json.dumps(content))
        assert bench(small_run(), baseline=path, repeats=1, only=("acting",)) == status
    captured = capsys.readouterr()
    assert "x base" in captured.out
    assert captured.err.startswith("dreamer: Worse than the baseline")


def test_baseline_of_another_run_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bench.json"
    bench(small_run(), path, repeats=1, only=("acting",))
    monkeypatch.setattr(run, "environment_spec", lambda _: 1 / 0)
    with pytest.raises(UserError, match="horizon 2 and 3"):
        bench(small_run(horizon=3), baseline=path)


def test_baseline_without_a_common_measurement(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    bench(small_run(), path, repeats=1, only=("acting",))
    content: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"measurements": []}))
    with pytest.raises(UserError, match="none of these"):
        bench(small_run(), baseline=path, repeats=1, only=("acting",))


@pytest.mark.parametrize("limit", [{"repeats": 0}, {"rounds": 1}, {"tolerance": 0.5}])
def test_numbers_out_of_range_are_refused(limit: dict[str, Any]) -> None:
    (option,) = limit
    with pytest.raises(UserError, match=f"--{option} must be at least"):
        bench(small_run(), **limit)


def test_random_agent_is_refused() -> None:
    with pytest.raises(UserError, match="random"):
        bench(small_run(agent="random"))
