"""Save and load checkpoints, which hold everything that a run needs to go on.

The name of a file, `step-<env_step>-<checksum>.pt`, has the frames at which it was made, and the first 16 digits of the
SHA-256 of its content, so that truncated and damaged files are noticed. The two newest sound ones are kept.
"""

import hashlib
import io
import json
import logging
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.make import ALGORITHMS
from dreamer.config import Affects, Config, options_affecting, to_flat
from dreamer.errors import UserError, writing
from dreamer.storage.atomic_file import atomic_file, remove_leftovers
from dreamer.storage.regular_file import IrregularFileError, read_regular
from dreamer.types import EnvSpec

FORMAT = 2
"""Version of the content, stored in every checkpoint."""

FIXED = options_affecting(Affects.EVERYTHING, Affects.LEARNING)
"""Options that a resumed run may not change."""
WARNED = options_affecting(Affects.UPDATES)
"""Options that it may change with a warning: another machine or non-finite updates may need it."""
COUNTING = {"counters", "rounds", "evaluation_clock", "checkpoint_clock", "video_clock", "skipped"}
"""Parts of a checkpoint that hold how far the run is."""
TRIES = 100
"""How often the files are listed anew, if one of them was removed before it was read."""

FILE_NAME = re.compile(r"step-(\d{9,18})-([0-9a-f]{16})\.pt")
_logger = logging.getLogger(__name__)


def save(directory: Path, state: Mapping[str, Any]) -> Path:
    """Write `state` into `directory`, which is made if it is missing, and return the file.

    `state` nests dicts and lists of tensors, numbers, strings, bools and None; `state["env_step"]`, an int,
    names the file. Of the older checkpoints, the newest sound one is kept. Those of a later `env_step` are removed,
    because the run went back to before them.

    Raises `UserError` if the disk refuses; the old files are then untouched. Raises `TypeError` if `state` holds
    something that `load` could not read.
    """
    content = _serialize({"format": FORMAT, **state})
    path = directory / f"step-{state['env_step']:09d}-{_checksum(content)}.pt"
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    with atomic_file(path) as file:
        file.write(content)
    _prune(path)
    return path


def load(directory: Path) -> dict[str, Any] | None:
    """Read the newest sound checkpoint, with tensors on the CPU. Return None if there is no checkpoint at all.

    Damaged ones are skipped with a warning, and nothing is changed on disk. Raises `UserError` if all are damaged,
    if the newest sound one was written by another version, or if one cannot be read. An older one is not taken in
    that case, because the read error may pass, and everything after the older checkpoint would be lost.
    """
    for _ in range(TRIES):
        with suppress(
            FileNotFoundError
        ):  # A process that trains here has removed it since the files were listed.
            return _load(directory)
    raise UserError(f"The checkpoints in {directory} change faster than they can be read: try again.")


def _load(directory: Path) -> dict[str, Any] | None:
    found = paths(directory)
    for path in found:
        if (content := _sound_content(path)) is not None:
            return _state(path, content)
    if found:
        names = ", ".join(path.name for path in found)
        raise UserError(f"No checkpoint in {directory} is sound ({names}): start in a new run directory.")
    return None


def read(path: Path) -> dict[str, Any]:
    """Read one checkpoint. Raises `UserError` if it is damaged, cannot be read, or was written by another version."""
    content = read_regular(path)
    if not path.stem.endswith(_checksum(content)):
        raise UserError(f"{path} is damaged: its content is not that of the checksum in its name.")
    return _state(path, content)


@contextmanager
def restoring(directory: Path, state: Mapping[str, Any], config: Config) -> Iterator[None]:
    """Check that `state` is of a run with these options. The block then loads it.

    Raises `UserError` if it is not, or if the block fails: a file with a right checksum may still come from another
    program, or from an environment that has changed since.
    """
    try:
        ours = kept_options(config)
        saved = state.get("options", ours)  # the first checkpoints of this version have no options
        for name, value in saved.items():
            if name in FIXED and ours.get(name, value) != value:
                raise ValueError(f"its {name} is {value!r}, and that of config.json {ours[name]!r}")
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).split("\n")[0]
        raise UserError(
            f"The checkpoint in {directory} does not fit ({reason}): use the program and the environment that it"
            " was made with, or start in a new run directory."
        ) from error


def check_agent(state: Mapping[str, Any], agent: Agent) -> None:
    """Raise `ValueError` or `KeyError` unless the checkpoint holds networks and optimizers of this kind, and counts."""
    _check_counts(state)
    _compare(state["agent"], agent.state_dict(), "agent")


def check_networks(state: Mapping[str, Any], config: Config) -> None:
    """Do so for networks of these options, which take no memory here, however large the options say that they are."""
    _check_counts(state)
    if "spec" not in state:
        return  # the first checkpoints of this version do not say what the environment is
    with torch.device("meta"):
        ours = ALGORITHMS[config.behavior.agent](EnvSpec.from_dict(state["spec"]), config).state_dict()
    saved = state["agent"].get("networks", {})
    _compare(saved, ours, "networks")
    if strange := sorted(saved.keys() - ours.keys()):
        raise ValueError(f"{strange[0]} belongs to no network")


def _check_counts(state: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless everything that counts is a whole number, and the seconds are a number."""
    for part in COUNTING & state.keys():
        for name, value in state[part].items():
            kinds = (int, float) if name == "seconds" else (int,)
            unknown = value is None and name in ("start", "finished_at")
            if not unknown and not (isinstance(value, kinds) and 0 <= value < 2**63):
                raise ValueError(f"{name} of its {part} is {value!r}")


def _compare(saved: Any, ours: Any, name: str) -> None:
    """Raise `ValueError` or `KeyError` unless tensors have the same names, shapes and types in both."""
    if isinstance(ours, Mapping):
        for key, value in ours.items():
            if key != "generator":  # its state has another size on another device
                _compare(saved[key], value, f"{name}.{key}")
    elif isinstance(ours, list):
        for index, (one, other) in enumerate(zip(saved, ours, strict=True)):
            _compare(one, other, f"{name}.{index}")
    elif isinstance(ours, torch.Tensor):
        if _kind(saved) != _kind(ours) or saved.layout != ours.layout:
            raise ValueError(f"{name} is {_kind(saved)} instead of {_kind(ours)}")
        if not saved.isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def exists(directory: Path) -> bool:
    """Whether there is a checkpoint, sound or not."""
    return bool(paths(directory))


def kept_options(config: Config) -> dict[str, Any]:
    """Return the options that a checkpoint holds: those that a run keeps, and those that it changes with a warning."""
    return {name: value for name, value in to_flat(config).items() if name in FIXED | WARNED}


def options_in(directory: Path) -> dict[str, Any]:
    """Return the options that the newest sound checkpoint was made with; none if it does not tell."""
    for path in paths(directory):
        with suppress(Exception):  # what is wrong with it, `load` says
            return dict(read(path)["options"])
    return {}


def pack_rng(rng: np.random.Generator) -> str:
    """Return the state of a generator from `np.random.default_rng` as JSON, since its integers have 128 bits."""
    return json.dumps(rng.bit_generator.state)


def unpack_rng(packed: str) -> np.random.Generator:
    """Return a generator with the state from `pack_rng`."""
    rng = np.random.default_rng(0)
    rng.bit_generator.state = json.loads(packed)
    return rng


def _state(path: Path, content: bytes) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        version = state.pop("format", None)
    except Exception as error:  # unpickling raises almost anything
        raise UserError(
            f"{path} is no checkpoint of this program: remove it, or start in a new run directory."
        ) from error
    if version != FORMAT:
        raise UserError(
            f"{path} was written by another version of this program: use that version for the run, or train"
            " anew in another --logdir."
        )
    if (match := FILE_NAME.fullmatch(path.name)) and state.get("env_step") != int(match[1]):
        raise UserError(
            f"{path} was made at another frame than its name says: give it its own name, or remove it."
        )
    return state


def _serialize(state: dict[str, Any]) -> bytes:
    """Pickle `state`, and check at once that it can be read back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError("The state holds more than tensors, numbers, strings, dicts and lists.") from error
    return buffer.getvalue()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _sound_content(path: Path) -> bytes | None:
    """Return the content of `path`, or None with a warning if its checksum is wrong."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise
    except IrregularFileError as error:
        _logger.warning("Checkpoint %s is damaged (%s); looking for the one before it.", path, error.strerror)
        return None
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}; make it readable, or remove it to go on from the one"
            " before it."
        ) from error
    if path.stem.endswith(_checksum(content)):
        return content
    _logger.warning("Checkpoint %s is damaged (truncated or altered); looking for the one before it.", path)
    return None


def paths(directory: Path) -> list[Path]:
    """Return the checkpoints in `directory`, sound or not, newest first."""
    found = [path for path in directory.glob("step-*.pt") if FILE_NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_env_step(path), _written(path)), reverse=True)


def _env_step(path: Path) -> int:
    match = FILE_NAME.fullmatch(path.name)
    assert match
    return int(match[1])


def _written(path: Path) -> int:
    """Return when a file was written; 0 if the process that trains here has removed it since it was listed."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


def _prune(newest: Path) -> None:
    """Keep `newest` and the newest sound checkpoint before it."""
    others = [path for path in paths(newest.parent) if path != newest]
    earlier = (path for path in others if _env_step(path) <= _env_step(newest))
    previous = next((path for path in earlier if _sound_content(path) is not None), None)
    for path in others:
        if path != previous and not path.is_dir():
            path.unlink(missing_ok=True)
