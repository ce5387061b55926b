"""Find the tasks that `--tasks` names."""

import os
from pathlib import Path

from dreamer.envs.make import known_names
from dreamer.errors import UserError, did_you_mean
from dreamer.results.published import published_tasks, task_name

PAPER_GAMES = (
    "boxing",
    "chopper_command",
    "double_dunk",
    "fishing_derby",
    "ice_hockey",
    "kangaroo",
    "krull",
    "kung_fu_master",
    "ms_pacman",
    "name_this_game",
    "pong",
    "tutankham",
    "up_n_down",
    "zaxxon",
)
"""The 14 Atari games of the paper (Figure 9); the two tasks of DeepMind Lab are not available here."""


def environments(tasks: str) -> list[str]:
    """Return the environments of `--tasks`, such as `dmc:walker_stand`, each once, in the order given.

    `tasks` is a file with one task per line (`#` begins a comment), or names separated by commas. A name without a
    colon is a task of the Control Suite; `all` stands for the paper's 20 of them, `atari` for the paper's 14 games.

    Raises:
        UserError: a task is unknown, or none is named.
    """
    # Path.is_file would raise OSError for a list of names that is longer than a file name may be.
    is_file = os.path.isfile(tasks)  # noqa: PTH113
    names = _lines(Path(tasks)) if is_file else [name.strip() for name in tasks.split(",")]
    found = list(dict.fromkeys(env for name in names if name for env in _environments(name)))
    if not found:
        raise UserError(
            "--tasks names no task: give all, names separated by commas, or a file with one name per line."
        )
    _check(found)
    return found


def short_name(env: str) -> str:
    """Return the name of a task for directories: `dmc:cup_catch` -> `ball_in_cup_catch`."""
    return task_name(env).replace(":", "-").replace("/", "-")


def _lines(path: Path) -> list[str]:
    try:
        return [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--tasks {path} cannot be read ({error}): give a text file.") from error


def _environments(name: str) -> list[str]:
    if name == "all":
        return [f"dmc:{task}" for task in published_tasks()]
    if name == "atari":
        return [f"atari:{game}" for game in PAPER_GAMES]
    return [name if ":" in name else f"dmc:{task_name(name)}"]


def _check(environments: list[str]) -> None:
    """Raise `UserError` for an unknown task. `gym:` tasks are not checked: the run imports their module."""
    known = known_names()
    games = any(name.startswith("atari:") for name in known)
    for env in environments:
        kind, _, name = env.partition(":")
        if kind == "atari" and not games:
            raise UserError("Atari needs ale-py: pip install 'dream-to-control[atari]'.")
        if kind != "gym" and env not in known:
            raise UserError(
                f"There is no task or file {name if kind == 'dmc' else env!r}{did_you_mean(env, known)}."
            )
