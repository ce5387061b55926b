"""Check the files of a run: everything that is ever read back, each as a whole.

Videos and TensorBoard's files are only shown, so they are not checked. Nothing is changed on disk.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.export.policy_file import read_policy_file
from dreamer.logs.metrics import record_in
from dreamer.replay.episode_file import (
    DamagedEpisodeError,
    Signature,
    length_of,
    read_episode,
    read_head,
    signature_of,
    signature_of_spec,
)
from dreamer.replay.store import FILE_NAME, ids_in, name_of
from dreamer.results.curves import read_metrics
from dreamer.results.inputs import find_runs
from dreamer.results.scores import read_scores
from dreamer.storage import checkpoint, config_file, machine
from dreamer.storage.regular_file import read_regular
from dreamer.storage.run_directory import RunDirectory
from dreamer.types import EnvSpec


class Finding(NamedTuple):
    """What was found about a file or a folder."""

    sound: bool
    text: str


def verify(paths: Sequence[Path]) -> Iterator[Finding]:
    """Check run directories, directories of runs, and single files.

    Raises `UserError` for a path that is none of these.
    """
    for path in paths:
        runs = find_runs(path) if path.is_dir() else []
        if not runs and not path.is_file():
            raise UserError(f"{path} is neither a run directory nor a file: name one of these.")
        for run in runs:
            yield from _run(RunDirectory(run))
        if not runs:
            yield _checked(path, _check_of(path))


def _check_of(path: Path) -> Callable[[Path], Any]:
    """Return what reads and checks a file of this name."""
    if checkpoint.FILE_NAME.fullmatch(path.name):
        return _read_checkpoint
    by_name = {
        config_file.FILE: config_file.read_config,
        machine.FILE: machine.read_machines,
        "metrics.jsonl": _check_record,
    }
    policy = read_policy_file
    by_ending = {".npz": _check_episode, ".pt": policy, ".xz": policy, ".csv": read_scores}
    check = by_name.get(path.name) or by_ending.get(path.suffix)
    if check is None:
        raise UserError(f"{path} is no file that this program reads back: there is nothing to check it by.")
    return check


def _checked(path: Path, check: Callable[[Path], Any]) -> Finding:
    try:
        check(path)
    except UserError as error:
        return Finding(False, str(error))
    except DamagedEpisodeError as reason:
        return Finding(False, f"{path}: {reason}")
    except OSError as error:
        return Finding(False, f"{path} cannot be read ({error.strerror}).")
    return Finding(True, str(path))


def _run(run: RunDirectory) -> Iterator[Finding]:
    yield _checked(run.config_file, config_file.read_config)
    if (run.path / machine.FILE).exists():
        yield _checked(run.path / machine.FILE, machine.read_machines)
    for path in checkpoint.paths(run.checkpoints):
        found = _checked(path, _read_checkpoint)
        if found.sound or path.exists():  # else the process that trains here has removed it since
            yield found
    if not (found := _checked(run.checkpoints, lambda _: run.check_checkpoints())).sound:
        yield found
    yield _checked(run.path / "metrics.jsonl", _check_record)
    yield from _replay(run)


class _Made(NamedTuple):
    """What a checkpoint says of the other files that it was made with."""

    record: bytes = b""
    episodes: Mapping[int, int | None] = MappingProxyType({})
    """The checksum of each episode by its id; those of older checkpoints are not known."""
    signature: Signature | None = None


def _read_checkpoint(path: Path) -> _Made:
    """Raise `UserError` if it is unsound, or does not fit the `config.json` of its run."""
    state = checkpoint.read(path)
    if (config := _config_of(path)) is not None:
        with checkpoint.restoring(path, state, config):
            checkpoint.check_networks(state, config)
    try:
        ids = ids_in(state["replay"]) if "replay" in state else []
        checksums = state["replay"].get("checksums", []) if ids else []
        episodes = dict(itertools.zip_longest(ids, checksums))
        signature = signature_of_spec(EnvSpec.from_dict(state["spec"])) if "spec" in state else None
        return _Made(record_in(state["logger"]), episodes, signature)
    except Exception as error:  # the checksum may be right, and the content anything
        raise UserError(f"{path} does not hold what a checkpoint of this program holds.") from error


def _config_of(path: Path) -> Config | None:
    """Return the options of the run that a checkpoint is of, or None if they cannot be read, which is said of them."""
    with suppress(UserError):
        return RunDirectory(path.absolute().parents[1]).config()
    return None


def _newest(run: RunDirectory) -> _Made:
    """Return what the newest sound checkpoint says, or that there was nothing yet."""
    for path in checkpoint.paths(run.checkpoints):
        with suppress(UserError, OSError):  # it is named already, or has been removed since
            return _read_checkpoint(path)
    return _Made()


def _check_record(path: Path) -> None:
    """Check each line, and that what the newest checkpoint holds of the record is there."""
    damage: list[str] = []
    read_metrics(path.parent, damage)
    if damage:
        raise UserError(damage[0])
    if not read_regular(path).startswith(_newest(RunDirectory(path.parent)).record):
        raise UserError(f"{path} is not what the checkpoint holds of it: going on with the run restores it.")


def _check_episode(path: Path, made: _Made = _Made()) -> None:  # noqa: B008 (it cannot be changed)
    """Check an episode, and that it is the one that a checkpoint was made with."""
    head, match = read_head(path), FILE_NAME.fullmatch(path.name)
    if match and path.name != name_of(int(match[1]), length_of(head.layout)):
        raise DamagedEpisodeError("its length is not the one in its name")
    if made.signature not in (None, found := signature_of(head.layout)):
        raise DamagedEpisodeError(f"it holds {found}, but episodes of this run {made.signature}")
    if match and made.episodes.get(int(match[1])) not in (None, head.checksum):
        raise DamagedEpisodeError("the checkpoint was made with another one")
    read_episode(path)


def _replay(run: RunDirectory) -> Iterator[Finding]:
    """Check every episode, and that those are there which the newest checkpoint needs."""
    directory, made = run.replay, _newest(run)
    if not directory.is_dir() and not made.episodes:
        return
    paths = sorted(directory.iterdir()) if directory.is_dir() else []
    files = {path: match for path in paths if (match := FILE_NAME.fullmatch(path.name))}
    check, sound = partial(_check_episode, made=made), 0
    for path, match in files.items():
        found = Finding(False, f"{path} was set aside.") if match[3] else _checked(path, check)
        sound += found.sound
        if not found.sound and path.exists():  # else the process that trains here has removed it since
            yield found
    yield Finding(True, f"{directory}: {sound} of {len(files)} episodes")
    ids = Counter(int(match[1]) for match in files.values() if not match[3])
    if twice := sorted(number for number, count in ids.items() if count > 1):
        yield Finding(
            False, f"{directory} has two files of one episode (id {', '.join(map(str, twice[:10]))})."
        )
    missing = made.episodes.keys() - {int(match[1]) for match in files.values()}
    if missing:
        some = ", ".join(map(str, sorted(missing)[:10])) + (", ..." if len(missing) > 10 else "")
        yield Finding(False, f"{directory} lacks episodes that the checkpoint was made with (id {some}).")
