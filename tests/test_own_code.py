"""Code that lies in the directory of a run is never executed, however the folder is named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dreamer
from dreamer.own_code import file_outside_packages, run_directory_of
from dreamer.storage import checkpoint
from training.runs import config, run

PAYLOAD = """
import pathlib
pathlib.Path({mark!r}).write_text(__file__)
import gymnasium as gym
import numpy as np

class Env(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {{}}
    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {{}}

gym.register("X-v0", Env)
"""
IMPORTED_BY_LIBRARIES = (
    "sitecustomize",
    "usercustomize",
    "tensorflow",
    "pandas",
    "cupy",
    "IPython",
    "colorama",
)
"""Names that Python or libraries try to import where they are not installed."""

Result = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that somebody has sent: sound, but its environment and more names stand for a file beside it."""
    directory = tmp_path_factory.mktemp("project") / "runs" / "sent"
    run(config(steps=300, obs="image"), directory)
    return directory


def plant(directory: Path, env: str) -> Path:
    """Put the payload into the run, and name it as its environment; return the file that shows that it was run."""
    mark = directory.parents[1] / "executed"
    mark.unlink(missing_ok=True)
    for name in ("payload", *IMPORTED_BY_LIBRARIES):
        (directory / f"{name}.py").write_text(PAYLOAD.format(mark=str(mark)))
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "env": env}))
    checkpoints = directory / "checkpoint"
    state = checkpoint.load(checkpoints)
    assert state is not None
    shutil.rmtree(checkpoints)
    checkpoint.save(checkpoints, state | {"options": state["options"] | {"env": env}})
    return mark


def command(folder: Path, *arguments: object, **variables: str) -> Result:
    """Run `dreamer`, as it is installed: `python -m` itself would look into the current folder first."""
    return program(folder, "from dreamer.cli import main; main()", *arguments, **variables)


def program(folder: Path, code: str, *arguments: object, **variables: str) -> Result:
    """Run some code in the folder, with arguments."""
    environment = os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        cwd=folder,
        env=environment | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("folder", "path", "name"),
    [
        ("runs/sent", ".", "payload"),
        ("runs/sent/replay", "..", "payload"),
        ("link", "../../link", "payload"),
        (".", "runs/sent", "runs.sent.payload"),
        (".", "runs/../link", "link.payload"),
    ],
)
def test_eval_refuses_code_of_the_run(folder: str, path: str, name: str, sent: Path) -> None:
    project = sent.parents[1]
    mark = plant(sent, f"gym:{name}:X-v0")
    if not (project / "link").exists():
        (project / "link").symlink_to(sent)
    result = command(project / folder, "eval", path, "--episodes", "1")
    assert result.returncode == 2, result.stderr
    assert not mark.exists()
    assert result.stderr.startswith(f"dreamer: gym:{name}:X-v0 raised ModuleNotFoundError in make: ")
    assert result.stderr.count("\n") == 1
    if folder == ".":
        assert f"lies in the run directory {sent}, and code from there is never executed" in result.stderr


def test_a_search_path_that_names_the_run_is_no_way_around(sent: Path) -> None:
    mark = plant(sent, "gym:payload:X-v0")
    for (
        name
    ) in IMPORTED_BY_LIBRARIES:  # Python itself imports some of them from there before `dreamer` begins
        (sent / f"{name}.py").unlink()
    result = command(
        sent.parent,
        "eval",
        "sent",
        PYTHONPATH=os.pathsep.join([str(Path(dreamer.__file__).parents[1]), "sent"]),
    )
    assert result.returncode == 2, result.stderr
    assert not mark.exists()


def test_what_needs_no_environment_makes_none(sent: Path) -> None:
    """One process takes the commands one after the other, since loading PyTorch takes seconds."""
    mark = plant(sent, "gym:payload:X-v0")
    lines = ["dream . --length 10", "export . --out ../policy.pt", "plot ."]
    code = (
        "import sys; from dreamer.cli import main\n"
        f"for line in {lines}:\n"
        "    sys.argv = ['dreamer', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: print(line, end.code or 0)\n"
    )
    result = program(sent, code)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line[:-2] in lines] == [
        f"{line} 0" for line in lines
    ]
    assert not mark.exists()


def test_training_on_executes_nothing_either_in_processes_of_its_own(sent: Path) -> None:
    mark = plant(sent, "gym:payload:X-v0")
    options = ["--preset", "debug", "--env", "gym:payload:X-v0", "--obs", "state", "--num-envs", "2"]
    result = command(sent, "train", *options, "--logdir", "../other")
    assert result.returncode == 2, result.stderr
    assert not mark.exists()


def test_ones_own_environment_in_the_project_folder_is_found_and_named(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "mine.py").write_text(PAYLOAD.format(mark=str(mark)))
    options = ["--preset", "debug", "--env", "gym:mine:X-v0", "--obs", "state", "--time-limit", "20"]
    short = ["--steps", "60", "--agent", "random", "--device", "cpu", "--eval-every", "0", "--num-envs", "2"]
    trained = command(tmp_path, "train", *options, *short, "--logdir", "runs/x")
    assert trained.returncode == 0, trained.stderr
    result = command(tmp_path, "eval", "runs/x", "--episodes", "1")
    assert result.returncode == 0, result.stderr
    assert mark.read_text() == str(tmp_path / "mine.py")
    assert f"The environment gym:mine:X-v0 comes from {tmp_path / 'mine.py'}.\n" in result.stderr


def test_run_directory_of_a_path(tmp_path: Path) -> None:
    for name in ("checkpoint", "inner"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / "config.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "run" / "inner")
    assert run_directory_of(tmp_path) is None
    for inside in ("run", "run/inner/a.py", "link/a.py", "run/../run/a.zip/b.py"):
        assert run_directory_of(tmp_path / inside) == tmp_path / "run"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"env": "production"}', "[" * 100_000])
def test_a_project_may_have_a_configuration_of_its_own(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert run_directory_of(tmp_path / "a.py") is None


def test_a_run_that_has_saved_nothing_is_known_by_its_environment(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"env": "gym:payload:X-v0"}')
    assert run_directory_of(tmp_path / "a.py") == tmp_path


def test_installed_packages_and_this_one_are_not_named() -> None:
    assert file_outside_packages("gymnasium") is None
    assert file_outside_packages("json") is None
    assert file_outside_packages("dreamer.envs.toy") is None
    assert file_outside_packages(__name__ + "_missing") is None
