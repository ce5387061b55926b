"""Names of tasks."""

import sys
from pathlib import Path

import pytest

from dreamer.envs.make import known_names
from dreamer.errors import UserError
from dreamer.sweep.tasks import PAPER_GAMES, environments, short_name


def test_tasks_of_the_paper_exist() -> None:
    tasks, games = environments("all"), environments("atari")
    assert len(set(tasks)) == 20
    assert len(set(games)) == len(PAPER_GAMES) == 14
    assert {*tasks, *games} <= {*known_names()}


def test_tasks_keep_their_order_and_come_once() -> None:
    names = "toy:dot, walker_walk,dmc:walker_walk,cup_catch,ball_in_cup_catch,gym:my_module:Mine-v0"
    assert environments(names) == [
        "toy:dot",
        "dmc:walker_walk",
        "dmc:ball_in_cup_catch",
        "gym:my_module:Mine-v0",
    ]


def test_all_tasks_may_be_named_though_no_file_name_may_be_so_long() -> None:
    tasks = environments("all")
    assert environments(",".join(tasks)) == tasks


def test_tasks_of_a_file_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    path.write_text("# first these\nwalker_walk  # easy\n\ntoy:dot\n")
    assert environments(str(path)) == ["dmc:walker_walk", "toy:dot"]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"cannot be read.*give a text file"):
        environments(str(path))


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        ("walker_wlk", "no task or file 'walker_wlk' .did you mean dmc:walker_walk"),
        ("toy:dot,toy:dott", "no task or file 'toy:dott' .did you mean toy:dot"),
        ("atari:pongg", "no task or file 'atari:pongg' .did you mean atari:pong"),
        (" ,", "names no task"),
    ],
)
def test_unknown_tasks_are_refused(tasks: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        environments(tasks)


def test_games_without_their_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UserError, match=r"pip install 'dream-to-control\[atari\]'"):
        environments("atari")


def test_short_names_are_those_of_directories() -> None:
    names = ["dmc:cup_catch", "dmc:walker_walk", "atari:pong", "gym:my_module:Mine/Maze-v0"]
    assert [short_name(name) for name in names] == [
        "ball_in_cup_catch",
        "walker_walk",
        "atari-pong",
        "gym-my_module-Mine-Maze-v0",
    ]
