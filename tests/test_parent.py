"""Processes end with the one that started them, also if they hang."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dreamer
from sweep.commands import alive, wait_until

SPINS = """
import os
import pathlib

import gymnasium as gym
import numpy as np

class Env(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    steps = 0

    def __init__(self):
        pathlib.Path(f"made-{os.getpid()}").touch()

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 60:
            pathlib.Path(f"hangs-{os.getpid()}").touch()
            sum(range(10**15))  # in C: nothing else of this process runs any more, and no signal is handled
        return np.zeros(3, np.float32), 0.0, False, False, {}

gym.register("Spins-v0", Env)
"""

TRAIN = """
from dreamer.envs import worker
from dreamer.training import async_collect
worker._GOODBYE_SECONDS = async_collect.CLOSE_TIMEOUT = 600  # whoever waits for the environments fails the test
from dreamer.cli import main
main()
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("platform", ["linux", "elsewhere"])
def test_a_process_at_100_percent_ends_with_its_parent(platform: str, tmp_path: Path) -> None:
    if platform == "linux" and sys.platform != "linux":
        pytest.skip("only Linux kills a process with its parent")
    child = (
        "import os, pathlib, sys\n"
        f"sys.platform = {platform!r}\n"
        "from dreamer.parent import end_with\n"
        "end_with(int(sys.argv[1]))\n"
        "pathlib.Path('pid.tmp').write_text(str(os.getpid()))\n"
        "pathlib.Path('pid.tmp').rename('pid')\n"
        "while True: pass\n"
    )
    parent = (
        f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    )
    with subprocess.Popen([sys.executable, "-c", parent], env=environment(), cwd=tmp_path) as process:
        wait_until((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        process.kill()
    wait_until(lambda: not alive(pid))


def test_a_process_whose_parent_has_gone_does_not_begin() -> None:
    code = "from dreamer.parent import end_with; end_with(1234567); print('begun')"
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, env=environment(), check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert "has ended before" in result.stderr


@pytest.fixture
def hanging(request: pytest.FixtureRequest, tmp_path: Path):
    """A run whose two environments hang, and their processes."""
    (tmp_path / "spins.py").write_text(SPINS)
    options = ["--preset", "debug", "--env", "gym:spins:Spins-v0", "--obs", "state", "--device", "cpu"]
    options += ["--prefill", "20", "--train-every", "20", "--train-steps", "1", "--time-limit", "10"]
    options += getattr(request, "param", [])
    line = [sys.executable, "-c", TRAIN, "train", *options, "--num-envs", "2", "--logdir", "run"]
    with subprocess.Popen(
        line, env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: len(list(tmp_path.glob("hangs-*"))) == 2, seconds=100)
        workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("hangs-*")]
        yield process, workers
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process that runs nothing but C")
def test_hanging_environments_end_with_a_run_that_is_killed(hanging) -> None:
    process, workers = hanging
    assert all(map(alive, workers))
    process.kill()
    wait_until(lambda: not any(map(alive, workers)))


@pytest.mark.parametrize(
    ("number", "hanging"),
    [(signal.SIGINT, ["--no-async-collect"]), (signal.SIGTERM, ["--async-collect"])],
    indirect=["hanging"],
)
def test_the_second_signal_stops_at_once_while_environments_hang(
    number: signal.Signals, hanging, tmp_path: Path
) -> None:
    process, workers = hanging
    process.send_signal(number)
    assert process.stderr.readline() == "Stopping after this step; once more stops at once.\n"
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(100) == 128 + number
    assert not process.stderr.read()
    assert len(list(tmp_path.glob("made-*"))) == 2  # nor is another begun
    wait_until(lambda: not any(map(alive, workers)))
