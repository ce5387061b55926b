"""`benchmarks/gpu.sh`: with a program that pretends to be Python, and for real at tiny sizes on a CPU."""

import json
import shutil
from pathlib import Path

import pytest

from dreamer.bench.report import Report

ROOT = Path(__file__).parents[2]
STEPS = ["doctor", "tests", "bench", "train"]

PRETENCE = """#!/bin/sh
echo "$@" >>{calls}
case "$*" in
    *"{failing}"*) echo "cannot" && exit 3 ;;
    *"dreamer train"*)
        mkdir -p {run} && cd {run} && echo '"eval/return"' >metrics.jsonl && touch config.json ;;
esac
"""


@pytest.fixture
def pretended(gpu, tmp_path):
    """Run the script with a program that notes its arguments, and fails if these contain `failing`."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "root" / "benchmarks")
    test = tmp_path / "root" / "tests" / "test_something.py"
    test.parent.mkdir()
    test.write_text("@pytest.mark.gpu")

    def call(failing="nothing", **settings):
        python, calls, run = tmp_path / "python", tmp_path / "calls", tmp_path / "run"
        python.write_text(PRETENCE.format(calls=calls, failing=failing, run=run))
        python.chmod(0o755)
        done = gpu(tmp_path / "root", python, RUN=run, **settings)
        return done, calls.read_text().splitlines()

    return call


def summary(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    return {name: result for name, _, result in (line.partition(": ") for line in lines)}


def test_steps_in_order(pretended, tmp_path):
    done, calls = pretended()
    assert done.returncode == 0, done.stderr
    assert list(summary(tmp_path)) == STEPS
    assert all(result.startswith("ok") for result in summary(tmp_path).values())
    commands = [line for line in calls if line.startswith("-m")]
    starts = ["-m dreamer doctor", "-m pytest", "-m dreamer bench", "-m dreamer train", "-m dreamer plot"]
    assert [line.startswith(start) for line, start in zip(commands, starts, strict=True)] == [True] * 5
    assert "-m gpu" in commands[1]
    assert "tests/test_something.py" in commands[1]
    task = "--preset paper --env dmc:walker_walk --obs image --async-collect --num-envs 8"
    assert all(task in commands[index] for index in (0, 2, 3))
    assert {"metrics.jsonl", "config.json", "summary.txt"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_failure_of_a_step_does_not_end_the_others(pretended, tmp_path):
    done, _ = pretended(failing="pytest -c")
    assert done.returncode == 1
    assert summary(tmp_path)["tests"].startswith("failed (3)")
    assert [name for name, result in summary(tmp_path).items() if result.startswith("ok")] == [
        "doctor",
        "bench",
        "train",
    ]
    assert (tmp_path / "out" / "tests.log").read_text() == "cannot\n"


def test_states_replace_images_that_cannot_be_rendered(pretended, tmp_path):
    done, calls = pretended(failing="make_env")
    assert done.returncode == 1
    assert "learning from states" in summary(tmp_path)["images"]
    (line,) = [line for line in calls if "dreamer train" in line]
    assert "--obs state" in line
    assert f"--logdir {tmp_path}/run-state" in line


def test_one_step_with_further_options(pretended, tmp_path):
    _, calls = pretended(STEPS="bench", BENCH="--only update --repeats 3")
    assert list(summary(tmp_path)) == ["bench"]
    assert calls[-1].endswith("--only update --repeats 3")


def test_step_without_time_is_left_out(pretended, tmp_path):
    done, calls = pretended(LIMIT=20)
    assert done.returncode == 1
    assert summary(tmp_path)["train"].startswith("failed (no time left)")
    assert not [line for line in calls if "dreamer train" in line]


def test_missing_packages_are_named(pretended):
    done, _ = pretended(failing="import tyro")
    assert done.returncode == 1
    assert "benchmarks/offline.py" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_at_tiny_sizes_and_training_again(gpu, tmp_path):
    settings = {"SMOKE": 1, "RUN": tmp_path / "run", "TRAIN": "--steps 400", "LIMIT": 500}
    first = gpu(ROOT, **settings)
    logs = "".join(path.read_text() for path in (tmp_path / "out").glob("*.log"))
    assert first.returncode == 0, first.stderr + logs
    assert list(summary(tmp_path)) == STEPS
    names = {m.name for m in Report.read(tmp_path / "out" / "bench.json").measurements}
    assert {"plain", "fast", "frames per second", "encoder forward", "step of all 2"} <= names
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["async_collect"], config["num_envs"], config["video_every"]) == (True, 2, 0)
    assert "Done after 400 frames" in (tmp_path / "out" / "train.log").read_text()
    again = gpu(
        ROOT, **settings | {"STEPS": "train", "TRAIN": "--steps 1000000", "LIMIT": 85}
    )  # 25 seconds of training
    log = (tmp_path / "out" / "train.log").read_text()
    assert again.returncode == 0, again.stderr + log
    assert "Stopped after" in log
    last = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["env_step"] > 400
