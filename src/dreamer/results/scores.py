"""Keep learning curves in files: a CSV for each method, and a JSON beside it that says how it was made.

`METHOD.csv` has the columns `COLUMNS` and one row for each evaluation, sorted by task, seed and frame.
`METHOD.json` has the fields of `Method`. `docs/protocol.md` says how the returns were measured.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.errors import UserError, writing
from dreamer.results.curves import LARGEST, Run, read_config, read_run
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import MOST_TEXT, read_regular

COLUMNS = ("task", "seed", "env_step", "return")
BY_TASK = ("env", "action_repeat")
"""Options that may differ between the runs of one method."""
ADVICE = "choose another --out"


@dataclass(frozen=True)
class Method:
    """How the runs of one method were made: the content of its JSON file."""

    command: str = ""
    """The command of every run, with TASK and SEED in place of the run's own."""
    commit: str = ""
    hardware: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """A dictionary for each run: `task`, `seed`, `episodes` of the last evaluation, the `std` over them, `hours`."""
    options: dict[str, Any] = field(default_factory=dict)
    """All options of the runs, except those that differ by task or do not affect results."""
    tuned_on: list[str] = field(default_factory=list)
    """The tasks on which these options were chosen."""


def append_run(
    run: Path,
    scores: Path,
    command: str = "",
    commit: str = "",
    hardware: str = "",
    tuned_on: Sequence[str] = (),
) -> None:
    """Add the evaluations of a finished run to the CSV `scores`, and how it was made to the JSON beside it.

    Both files are made if they are missing. A run of the same task and seed is replaced. The last four arguments
    describe the method (see `Method`). An empty one keeps what the JSON has.

    Raises:
        UserError: `run` is not a run directory, the run is not finished, its options differ from those of the runs
            in the file, `scores` does not end in .csv or is not a scores file, or the disk refuses.
    """
    new = read_run(run)
    _check_finished(run, new)
    method = read_method(scores) if scores.exists() else Method()
    options = _options(new)
    if method.runs and options != method.options:
        raise UserError(f"{run} is another method than {scores}, {_difference(options, method.options)}.")
    runs = [old for old in (read_scores(scores) if scores.exists() else []) if _key(old) != _key(new)]
    records = [old for old in method.runs if (old["task"], old["seed"]) != _key(new)]
    texts = {"command": command, "commit": commit, "hardware": hardware, "tuned_on": sorted(tuned_on)}
    method = replace(
        method,
        runs=sorted([*records, _record(new)], key=lambda record: (record["task"], record["seed"])),
        options=options,
        **{name: text for name, text in texts.items() if text},
    )
    _write(scores, [*runs, new], method)


def read_scores(scores: Path) -> list[Run]:
    """Read the curves of a scores file, one `Run` for each task and seed.

    Raises:
        UserError: The file cannot be read, or it is not a scores file.
    """
    _check_name(scores)
    method = read_method(scores)
    options = json.dumps(method.options, sort_keys=True)
    records = {(record["task"], record["seed"]): record for record in method.runs}
    curves: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for task, seed, env_step, value in _rows(scores):
        curves[task, seed].append((env_step, value))
    runs = []
    for (task, seed), points in curves.items():
        env_step, mean = np.array(sorted(points)).T
        record = records.get((task, seed), {})
        runs.append(
            Run(
                path=scores,
                task=task,
                seed=seed,
                env_step=env_step,
                mean=mean,
                episodes=record.get("episodes", 0),
                std=record.get("std", np.nan),
                seconds=3600 * record.get("hours", np.nan),
                options=options,
            )
        )
    return runs


def read_method(scores: Path) -> Method:
    """Read the JSON beside a scores file. If there is none, return an empty `Method`.

    Raises:
        UserError: The JSON cannot be read.
    """
    path = scores.with_suffix(".json")
    if not path.exists():
        return Method()
    try:
        method = Method(**json.loads(read_regular(path, MOST_TEXT)))
        _check_method(method)
        return method
    except (OSError, ValueError, TypeError, RecursionError):
        raise UserError(f"{path} cannot be read: repair it, or delete it and add the runs again.") from None


def _check_method(method: Method) -> None:
    """Raise `TypeError` unless every field is of its type."""
    texts = (method.command, method.commit, method.hardware)
    texts += tuple(method.tuned_on)
    if not all(isinstance(text, str) for text in texts) or not isinstance(method.options, dict):
        raise TypeError
    numbers = ("episodes", "std", "hours")
    for run in method.runs:
        named = (
            isinstance(run, dict) and isinstance(run.get("task"), str) and isinstance(run.get("seed"), int)
        )
        if not named or not all(isinstance(run.get(name, 0), int | float) for name in numbers):
            raise TypeError


def _rows(scores: Path) -> list[tuple[str, int, float, float]]:
    wrong = UserError(
        f"{scores} is not a scores file (columns {', '.join(COLUMNS)}): give one, or a run directory."
    )
    try:
        head, *rows = csv.reader(read_regular(scores, MOST_TEXT).decode().splitlines())
        if tuple(head) != COLUMNS:
            raise wrong
        found = [(task, int(seed), float(env_step), float(value)) for task, seed, env_step, value in rows]
        if not all(abs(number) < LARGEST for row in found for number in row[2:]):
            raise wrong
        return found
    except (OSError, ValueError, csv.Error):
        raise wrong from None


def _check_name(scores: Path) -> None:
    if scores.suffix != ".csv":
        raise UserError(f"{scores.name!r} cannot be a scores file: let its name end in .csv.")


def _check_finished(run: Path, new: Run) -> None:
    steps, reached = read_config(run).get("steps", 0), int(new.env_step[-1])
    if reached < steps:
        raise UserError(
            f"{run} was last evaluated at {reached:,} of {steps:,} frames: continue its training to the end."
        )


def _key(run: Run) -> tuple[str, int]:
    return run.task, run.seed


def _options(run: Run) -> dict[str, Any]:
    return {name: value for name, value in json.loads(run.options).items() if name not in BY_TASK}


def _difference(new: dict[str, Any], old: dict[str, Any]) -> str:
    """Name the first option that differs, and both values."""
    name = min(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
    return f"with {name} {new.get(name)} instead of {old.get(name)}: {ADVICE}"


def _record(run: Run) -> dict[str, Any]:
    hours = float(f"{run.seconds / 3600:.3g}")
    std = round(run.std, 1)
    return {"task": run.task, "seed": run.seed, "episodes": run.episodes, "std": std, "hours": hours}


def _write(scores: Path, runs: list[Run], method: Method) -> None:
    _check_name(scores)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in sorted(runs, key=_key):
        for env_step, value in zip(run.env_step, run.mean, strict=True):
            writer.writerow([run.task, run.seed, int(env_step), round(float(value), 3)])
    with writing(scores, ADVICE):
        scores.parent.mkdir(parents=True, exist_ok=True)
    for path, text in [
        (scores, table.getvalue()),
        (scores.with_suffix(".json"), json.dumps(asdict(method), indent=2, ensure_ascii=False) + "\n"),
    ]:
        with atomic_file(path) as file:
            file.write(text.encode())
