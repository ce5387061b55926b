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

    made = {"ready": lambda call: {}, "tests": fail, "agreement": break_, "bench": lambda call: {"found": 2}}
    monkeypatch.setattr(gpu, "STEPS", made)
    assert not make_call(steps=("tests", "agreement", "bench")).run()
    steps = summary(tmp_path)
    assert [step["ok"] for step in steps.values()] == [True, False, False, True]
    assert (steps["tests"]["error"], steps["tests"]["seen"]) == ("too slow", 1)
    assert steps["agreement"]["error"] == "ZeroDivisionError: division by zero"
    assert steps["bench"]["found"] == 2


def test_a_second_call_adds_to_the_summary(gpu, make_call, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "STEPS", dict.fromkeys(gpu.STEPS, lambda call: {"found": call.options.seconds}))
    assert make_call(steps=("bench", "train"), seconds=1).run()
    assert make_call(steps=("train",), seconds=2).run()
    found = {name: step["found"] for name, step in summary(tmp_path).items()}
    assert found == {"ready": 2, "bench": 1, "train": 2}


def test_a_call_that_is_stopped_leaves_its_summary(gpu, make_call, tmp_path, monkeypatch):
    def stop(call):
        raise SystemExit(143)

    monkeypatch.setattr(gpu, "STEPS", {"ready": lambda call: {}, "train": stop})
    with pytest.raises(SystemExit):
        make_call(steps=("train",)).run()
    assert summary(tmp_path)["train"]["error"] == "this script was stopped"


def test_commands_are_ended_in_time_and_logged(gpu, make_call, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "LEAST", 0)
    call = make_call()
    started = time.monotonic()
    with pytest.raises(gpu.StepError, match="ended after 1 s") as ended:
        call.checked(
            [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(60)"], limit=1
        )
    assert ended.value.output == "begun\n"
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


def test_nothing_lasts_beyond_the_deadline(gpu, make_call):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    call = make_call(seconds=gpu.LEAST + 4.0, saving=30.0)
    started = time.monotonic()
    status, _ = call.command([sys.executable, "-c", stubborn], 2, signal.SIGTERM)
    assert status == -signal.SIGKILL
    assert time.monotonic() - started < gpu.LEAST + 4.0


def test_time_is_left_for_training(gpu, make_call, monkeypatch):
    seen = {}
    names = ("ready", "tests", "train")
    monkeypatch.setattr(
        gpu, "STEPS", {n: lambda call, n=n: seen.update({n: call.left()}) or {} for n in names}
    )
    make_call(steps=("tests", "train"), seconds=570).run()
    assert seen["tests"] == pytest.approx(570 - gpu.TRAINING, abs=5)
    assert seen["train"] == pytest.approx(570, abs=5)
    make_call(steps=("tests",), seconds=570).run()
    assert seen["tests"] == pytest.approx(570, abs=5)


def test_training_needs_time(make_call, tmp_path, gpu, monkeypatch):
    monkeypatch.setitem(gpu.STEPS, "ready", lambda call: {})
    assert not make_call(steps=("train",), seconds=40.0).run()
    assert summary(tmp_path)["train"]["error"] == "no time was left for it"


def test_what_does_not_work_is_recorded_and_done_without(gpu, make_call, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "WORLDS", (("dmc:no_task", "image"), ("toy:dot", "image")))
    call = gpu.Call(gpu.Options(tmp_path / "out", logdir=tmp_path / "run", steps=()))
    assert not call.run()
    assert (call.env, call.obs) == ("toy:dot", "image")
    found = summary(tmp_path)["ready"]
    assert found["error"].startswith("toy:dot from images instead of what does not work here (dmc:no_task")
    assert found["env"] == "toy:dot"
    assert gpu._logdir(call) == tmp_path / "run-toy-dot-image"


def test_where_nothing_works_it_says_so(gpu, make_call, monkeypatch, tmp_path):
    def fail(call, line, limit):
        raise gpu.StepError("no module named torch")

    monkeypatch.setattr(gpu.Call, "checked", fail)
    assert not make_call(steps=()).run()
    assert summary(tmp_path)["ready"]["error"] == (
        "nothing can be trained here (toy:dot from images: no module named torch)"
    )


def test_figures_measured_before_an_end_are_kept(gpu, make_call, monkeypatch, tmp_path):
    variant = {"device": "cuda", "precision": "bfloat16", "path": "captured"}
    figure = {"group": "gradient step", "name": "total", "unit": "s", "median": 0.008, "variant": variant}

    def end(call, line, limit):
        (tmp_path / "out" / "bench.json").write_text(json.dumps({"figures": [figure]}))
        raise gpu.StepError("ended after 3 s")

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bench.json").write_text("{}")
    monkeypatch.setattr(gpu.Call, "checked", end)
    call = make_call()
    with pytest.raises(gpu.StepError, match="ended after 3 s") as ended:
        gpu.bench(call)
    assert ended.value.result == {"figures": {"total (s, bfloat16, captured)": 0.008}}
    assert (tmp_path / "out" / "bench.before.json").read_text() == "{}"


def test_comparisons_made_before_an_end_are_kept(gpu, make_call, monkeypatch):
    lines = [
        {"path": "captured", "precision": name, "worst": worst, "good": worst < 0.05}
        for name, worst in (("bfloat16", 0.01), ("float32", 0.1))
    ]

    def end(call, line, limit):
        raise gpu.StepError(
            "ended after 3 s", output="".join(json.dumps(x) + "\n" for x in lines[:asked]) + "{"
        )

    monkeypatch.setattr(gpu.Call, "checked", end)
    for asked, error in ((1, "ended after 3 s"), (2, "too far from the reference: captured float32 by 0.1")):
        with pytest.raises(gpu.StepError, match=error) as ended:
            gpu.agreement(make_call())
        assert ended.value.result == {"compared": lines[:asked]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_script_and_a_second_call(tmp_path):
    where = ["--out", tmp_path / "out", "--logdir", tmp_path / "run", "--smoke"]
    steps = ["--steps", "tests", "agreement", "bench", "train"]
    first = run("gpu.sh", *where, *steps, "--seconds", 380, "--train=--steps 400")
    assert first.returncode == 0, first.stdout + first.stderr
    files = ["bench.json", "config.json", "curve.png", "log.txt", "metrics.jsonl", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    found = summary(tmp_path)
    assert list(found) == ["ready", "tests", "agreement", "bench", "train"]
    assert "collected" in found["tests"]["said"]
    assert found["agreement"]["compared"][0]["good"]
    assert found["bench"]["figures"]["total (s, float32, eager)"] > 0
    assert found["bench"]["figures"]["end to end (frames/s, bfloat16, eager)"] > 0
    assert found["train"]["env_step"] == 400
    assert not found["train"]["resumed"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["async_collect"], config["num_envs"], config["video_every"]) == (True, 2, 0)
    second = run("gpu.sh", *where, "--seconds", 75, "--saving", 25, "--steps", "train")
    assert second.returncode == 0, second.stdout + second.stderr
    again = summary(tmp_path)
    assert again["bench"] == found["bench"]
    assert again["train"]["resumed"]
    assert again["train"]["env_step_before"] == 400
    assert again["train"]["env_step"] > 400


@pytest.mark.slow
def test_sharing_and_scale_at_tiny_sizes(tmp_path):
    where = ["--out", tmp_path / "out", "--logdir", tmp_path / "run", "--smoke"]
    done = run("gpu.sh", *where, "--seconds", 380, "--steps", "sharing", "scale")
    assert done.returncode == 0, done.stdout + done.stderr
    found = summary(tmp_path)
    assert [row["processes"] for row in found["sharing"]["rows"]] == [1, 2]
    assert [point["size"] for point in found["scale"]["updates"]["horizon"]] == [2, 3]
    assert {"sharing.json", "scale.json", "scale.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
