"""The sweeps of README.md and docs/reproduce.md: every command has a plan, with as many runs as its table says."""

import re
import shlex
from pathlib import Path

import pytest

from dreamer.arguments import read
from dreamer.ray_cluster import with_address
from dreamer.sweep.plan import make_plan
from dreamer.sweep.sweep import Sweep
from dreamer.sweep.tasks import environments

ROOT = Path(__file__).parents[2]
REPRODUCE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"dreamer sweep (--[^`\n]+)", REPRODUCE + (ROOT / "README.md").read_text(encoding="utf-8")
)
ROWS = re.findall(r"^\|.*`dreamer sweep (--[^`]+)`(.*?)\| (\d+)( per seed)? \|", REPRODUCE, re.M)


def number_of_runs(command: str) -> int:
    """Plan a sweep as `dreamer sweep` does. Only its first task is planned, because the others have as many runs."""
    given = shlex.split(command)
    if "--preset" not in given:
        given += ["--preset", "paper"]
    options, training = read(
        Sweep, with_address([*given, "--out", "x"]), "dreamer sweep", return_unknown_args=True
    )
    tasks = environments(options.tasks)
    return len(tasks) * len(make_plan(options.preset, tasks[:1], options.seeds, options.sweep, training).runs)


def test_commands_beside_the_table_have_a_plan() -> None:
    pytest.importorskip("ale_py")
    commands = set(COMMANDS) - {command for command, *_ in ROWS}
    assert len(commands) >= 4
    assert all(number_of_runs(command) for command in commands)


def test_table_counts_the_runs() -> None:
    pytest.importorskip("ale_py")
    assert len(ROWS) >= 7
    for command, more, count, per_seed in ROWS:
        commands = 1 + more.count("and `--agent")
        assert commands * number_of_runs(command) == int(count) * (5 if per_seed else 1), command
