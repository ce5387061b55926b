"""The script for a GPU machine, at tiny sizes and without a GPU."""

import json
import signal
import sys
import time

import pytest

from benchmarks.running import run


@pytest.fixture
def gpu(script):
    return script("gpu")


@pytest.fixture
def make_call(gpu, tmp_path):
    def make(**options):
        return gpu.Call(gpu.Options(tmp_path / "out", logdir=tmp_path / "run", smoke=True, **options))

    return make


def summary(tmp_path):
    return json.loads((tmp_path / "out" / "summary.json").read_text())["steps"]


def test_a_step_that_fails_loses_nothing_of_the_others(gpu, make_call, tmp_path, monkeypatch):
    def fail(call):
        raise gpu.StepError("too slow", {"seen": 1})

    def break_(call):
        return 1 / 0

    monkeypatch.setattr(
        gpu, "STEPS", {"tests": fail, "agreement": break_, "bench": lambda call: {"found": 2}}
    )
    assert not make_call(steps=("tests", "agreement", "bench")).run()
    steps = summary(tmp_path)
    assert [step["ok"] for step in steps.values()] == [False, False, True]
    assert (steps["tests"]["error"], steps["tests"]["seen"]) == ("too slow", 1)
    assert steps["agreement"]["error"] == "ZeroDivisionError: division by zero"
    assert steps["bench"]["found"] == 2


def test_commands_are_ended_in_time_and_logged(gpu, make_call, tmp_path):
    call = make_call()
    started = time.monotonic()
    with pytest.raises(gpu.StepError, match="ended after 1 s"):
        call.checked(
            [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(60)"], limit=1
        )
    assert time.monotonic() - started < 20
    with pytest.raises(gpu.StepError, match="exit status 3: last words"):
        call.checked([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], limit=20)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "begun" in log
    assert "last words" in log


def test_a_command_may_go_on_to_save_after_the_signal(make_call):
    program = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0))); time.sleep(60)"
    )
    assert make_call().command([sys.executable, "-u", "-c", program], 2, signal.SIGTERM) == (0, "saved\n")


def test_training_needs_time(make_call, tmp_path):
    assert not make_call(steps=("train",), seconds=40.0).run()
    assert summary(tmp_path)["train"]["error"] == "no time was left for it"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_script_and_a_second_call(tmp_path):
    where = ["--out", tmp_path / "out", "--logdir", tmp_path / "run", "--smoke"]
    first = run("gpu.sh", *where, "--seconds", 380, "--train=--steps 400")
    assert first.returncode == 0, first.stdout + first.stderr
    files = ["bench.json", "config.json", "curve.png", "log.txt", "metrics.jsonl", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    found = summary(tmp_path)
    assert list(found) == ["tests", "agreement", "bench", "train"]
    assert "collected" in found["tests"]["said"]
    assert found["agreement"]["compared"][0]["good"]
    assert found["bench"]["figures"]["total (s, float32, eager)"] > 0
    assert found["train"]["env_step"] == 400
    assert not found["train"]["resumed"]
    second = run("gpu.sh", *where, "--seconds", 75, "--saving", 25, "--steps", "train")
    assert second.returncode == 0, second.stdout + second.stderr
    again = summary(tmp_path)["train"]
    assert again["resumed"]
    assert again["env_step_before"] == 400
    assert again["env_step"] > 400
