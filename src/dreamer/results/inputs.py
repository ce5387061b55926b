"""Find runs, read them as far as possible, and group those that differ only in task and seed."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dreamer.errors import UserError
from dreamer.results.curves import Run, read_run
from dreamer.results.scores import BY_TASK, read_method, read_scores
from dreamer.storage.regular_file import MOST_TEXT, read_regular

OURS = "ours"
MOST_NAMED = 3
"""Largest number of options in the name of a method, and of names in a sentence."""
SWEEP = "sweep.json"
RUN_DIRECTORY = ("config.json", "metrics.jsonl")
DEPTH = 3
"""Levels of folders below a directory in which runs are searched."""


@dataclass(frozen=True)
class Method:
    """Runs with the same `options`, except the task's own and the seed. `name` distinguishes methods.

    `tuned_on` are the tasks on which the options were chosen, as far as a scores file says so.
    """

    name: str
    options: dict[str, Any]
    runs: tuple[Run, ...]
    command: str = ""
    commit: str = ""
    hardware: str = ""
    tuned_on: tuple[str, ...] = ()

    def by_task(self) -> dict[str, list[Run]]:
        """Group the runs by task. Tasks are in alphabetical order, seeds ascending."""
        groups: dict[str, list[Run]] = defaultdict(list)
        for run in sorted(self.runs, key=lambda run: (run.task, run.seed)):
            groups[run.task].append(run)
        return dict(groups)


@dataclass(frozen=True)
class Inputs:
    """Content of a report: `methods`, and `notes` about what could not be read, one sentence each."""

    methods: tuple[Method, ...]
    notes: tuple[str, ...]


def read_inputs(paths: Sequence[Path]) -> Inputs:
    """Read run directories, directories of runs (a sweep), and scores files (`METHOD.csv`).

    What cannot be read becomes a note, and the rest is read.

    Raises:
        UserError: Nothing could be read. The sentence says why.
    """
    if not paths:
        raise UserError("Nothing to show: name at least one run directory, sweep or scores file.")
    notes: list[str] = []
    files = [path for path in paths if path.suffix == ".csv"]
    folders = [path for path in paths if path.suffix != ".csv"]
    methods = [*_methods_of_runs(_read_runs(folders, notes)), *_methods_of_files(files, notes)]
    if not methods:
        more = f" {len(notes) - MOST_NAMED} more cannot be read." if len(notes) > MOST_NAMED else ""
        raise UserError(" ".join(notes[:MOST_NAMED]) + more)
    notes += _repeated_seeds(methods)
    if len(methods) == 1:
        methods = [replace(methods[0], name=OURS)]
    return Inputs(tuple(methods), tuple(notes))


def _read_runs(folders: Sequence[Path], notes: list[str]) -> list[tuple[Run, str]]:
    """Read all runs in `folders`, each with the variant in its sweep as the method's name, or an empty name."""
    runs = {}
    for folder in folders:
        found, names = find_runs(folder), _sweep(folder)
        missing = [name for name in names if name not in {path.name for path in found}]
        if missing:
            count = f"{len(names) - len(missing)} of its {len(names)} runs"
            notes.append(f"{folder} has {count} so far; not yet: {_some(missing)}.")
        elif not found:
            notes.append(
                f"{folder} is not a run directory and contains none: name a run directory or a sweep."
            )
        for path in found:
            try:
                runs[path.resolve()] = read_run(path, damage=notes), names.get(path.name, "")
            except UserError as error:
                notes.append(str(error))
    return list(runs.values())


def _sweep(folder: Path) -> dict[str, str]:
    """Return the planned runs of a sweep as run -> method, empty if `folder` is not a sweep or cannot be read."""
    try:
        planned = json.loads(read_regular(folder / SWEEP, MOST_TEXT))["runs"]
        return {str(run["name"]): str(run["variant"]) for run in planned}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def find_runs(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return `folder` itself if it is a run directory, else the run directories below it, sorted by name."""
    if _is_run(folder):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    return [run for child in sorted(folder.iterdir()) for run in find_runs(child, depth - 1)]


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in RUN_DIRECTORY)


def _methods_of_files(files: Sequence[Path], notes: list[str]) -> list[Method]:
    methods = []
    for path in files:
        try:
            runs, how = read_scores(path), read_method(path)
        except UserError as error:
            notes.append(str(error))
            continue
        name = path.stem.replace("_", " ")
        if runs:
            record = how.command, how.commit, how.hardware, tuple(how.tuned_on)
            methods.append(Method(name, how.options, tuple(runs), *record))
        else:
            notes.append(f"{path} has no scores in it: add runs to it with `dreamer scores`.")
    return methods


def _methods_of_runs(runs: Sequence[tuple[Run, str]]) -> list[Method]:
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run, name in runs:
        groups[name, json.dumps(_options(run), sort_keys=True)].append(run)
    options = [json.loads(text) for _, text in groups]
    planned = [name for name, _ in groups]
    names = planned if all(planned) and len(set(planned)) == len(planned) else _names(options)
    return [
        Method(name, shared, tuple(group))
        for name, shared, group in zip(names, options, groups.values(), strict=True)
    ]


def _options(run: Run) -> dict[str, Any]:
    return {name: value for name, value in json.loads(run.options).items() if name not in BY_TASK}


def _names(options: Sequence[dict[str, Any]]) -> list[str]:
    """Name each set of options by its agent, if that is enough, or by the options in which they differ.

    Equal names get numbers.
    """
    agents = [str(one.get("agent")) for one in options]
    if len(options) > 1 and len(set(agents)) == len(options):
        return agents
    every = sorted({name for one in options for name in one})
    differing = [name for name in every if len({json.dumps(one.get(name)) for one in options}) > 1]
    # The algorithm comes first, because it says more than its options; last, what only some versions have.
    everywhere = {name for name in every if all(name in one for one in options)}
    differing.sort(key=lambda name: (name not in ("agent", "objective", "obs"), name not in everywhere, name))
    texts = [
        ", ".join(f"{name} {one[name]}" for name in differing[:MOST_NAMED] if name in one) for one in options
    ]
    counts, seen = Counter(texts), Counter[str]()
    names = []
    for text in texts:
        seen[text] += 1
        names.append(f"{text} ({seen[text]})" if counts[text] > 1 else text or OURS)
    return names


def _repeated_seeds(methods: Sequence[Method]) -> list[str]:
    return [
        f"{method.name} has {count} runs of {task} with seed {seed}: each counts as a seed of its own."
        for method in methods
        for (task, seed), count in Counter((run.task, run.seed) for run in method.runs).items()
        if count > 1
    ]
