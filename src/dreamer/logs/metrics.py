"""The record of a run: `metrics.jsonl`.

It has one JSON object a line: the counters `env_step`, `agent_step`, `grad_step` and `seconds`, then the scalars of
that moment (`train/return`, `model/kl`, ...). A value that is not finite is written as `null`, so that every line is
valid JSON.
"""

import contextlib
import io
import json
import logging
import math
import os
import resource
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dreamer.errors import writing
from dreamer.machine import memory_bytes
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import IrregularFileError, read_regular
from dreamer.world_model.gaussian import HALF_LOG_TWO_PI

_logger = logging.getLogger(__name__)


class Counters(Protocol):
    """How far a run is: simulator frames, agent steps, updates, and seconds of running."""

    @property
    def env_step(self) -> int: ...
    @property
    def agent_step(self) -> int: ...
    @property
    def grad_step(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Mean:
    """Means of named scalars since the last `pop`.

    Tensors are summed on their device, all of one call in one vector: nothing waits for the GPU until `pop`.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._counts: dict[tuple[str, ...], Tensor] = {}

    def add(self, scalars: Mapping[str, Tensor], skipped: Tensor | None = None) -> None:
        """Add one value per name, each a tensor of one element; none of them if `skipped` is 1."""
        names = tuple(scalars)
        values = torch.stack([x.detach().double().reshape(()) for x in scalars.values()])
        count = torch.ones_like(values[0]) if skipped is None else 1 - skipped.double()
        # Selected, not multiplied: what is skipped may be NaN.
        values = torch.where(count > 0, values, 0.0)
        if names in self._sums:
            values, count = self._sums[names].to(values) + values, self._counts[names].to(count) + count
        self._sums[names], self._counts[names] = values, count

    def pop(self) -> dict[str, float]:
        """Return the means since the last `pop`, without those that were always skipped, and start again."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, totals, count in self.state_dict()["groups"]:
            for name, total in zip(names, totals, strict=True):
                sums[name] = sums.get(name, 0.0) + total
                counts[name] = counts.get(name, 0.0) + count
        self._sums, self._counts = {}, {}
        return {name: total / counts[name] for name, total in sums.items() if counts[name]}

    def state_dict(self) -> dict[str, list]:
        """Return names, sums and count of every group of names that were added together."""
        groups = [(list(n), total.tolist(), float(self._counts[n])) for n, total in self._sums.items()]
        return {"groups": groups}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Go on from `state_dict`."""
        groups = [(tuple(names), totals, count) for names, totals, count in state["groups"]]
        self._sums = {names: torch.tensor(totals, dtype=torch.float64) for names, totals, _ in groups}
        self._counts = {names: torch.tensor(count, dtype=torch.float64) for names, _, count in groups}


def explained_variance(means: Mapping[str, float]) -> dict[str, float]:
    """Return the share of the rewards' variance in a round that the reward head explains, if there is any variance.

    It is taken of the means, because a batch by itself may hold equal rewards only.
    """
    if "model/reward_loss" not in means:
        return {}
    squared_error = 2 * (means["model/reward_loss"] - HALF_LOG_TWO_PI)
    variance = means["model/reward_square"] - means["model/reward_mean"] ** 2
    equal = variance <= 1e-6 * means["model/reward_square"]  # up to rounding in float32
    return {} if equal else {"model/reward_explained": 1 - squared_error / variance}


def memory() -> dict[str, float]:
    """Return the memory of this process without files that it maps, and the most that it held on a GPU, in GiB."""
    used: dict[str, float] = {}
    with contextlib.suppress(OSError):  # only Linux has this file
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
        used["memory/process"] = (resident - shared) * resource.getpagesize() / 2**30
    if torch.cuda.is_initialized():
        used["memory/gpu"] = torch.cuda.max_memory_allocated() / 2**30
    return used


class MetricsWriter:
    """Append to `logdir/metrics.jsonl`, the record of a run, and keep the file as it was written.

    A checkpoint holds the whole record. So a resumed run has neither a gap nor a duplicate in it, and whatever else was
    done to the file is noticed and undone: here before each line, in what was written before the checkpoint at each
    start.
    """

    def __init__(self, logdir: Path) -> None:
        self.path = Path(logdir) / "metrics.jsonl"
        self._record = bytearray()
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, counters: Counters, scalars: Mapping[str, float]) -> None:
        """Append one line.

        Raises:
            UserError: The disk refuses; the file then still ends with its last whole line.
        """
        line: dict[str, float | None] = {
            "env_step": counters.env_step,
            "agent_step": counters.agent_step,
            "grad_step": counters.grad_step,
            "seconds": round(counters.seconds, 3),
        }
        line |= {name: _finite(value) for name, value in scalars.items()}
        if _is_strange(self.path) or _size(self.path) != len(self._record):
            self._restore()
        data = (json.dumps(line) + "\n").encode()
        append(self.path, data)
        self._record += data

    def last(self, *names: str) -> list[float | None]:
        """Return the newest value of each of these scalars, or None."""
        found: dict[str, float] = {}
        for line in reversed(self._record.splitlines()):
            with contextlib.suppress(
                ValueError, TypeError
            ):  # a record of an older version may hold a damaged line
                found = json.loads(line) | found
            if found.keys() >= {*names}:
                break
        return [found.get(name) for name in names]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the whole record, compressed."""
        if self._read() != self._record:
            self._restore()
        return {"compressed": torch.frombuffer(bytearray(zlib.compress(self._record)), dtype=torch.uint8)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict`: what was written after it is dropped, and what was lost comes back."""
        self._rewind(_unpack(state))

    def start_anew(self) -> None:
        """Drop what a run has left behind that was killed before its first checkpoint."""
        self._rewind(b"")

    def rewind_to_length(self, length: int) -> None:
        """Go on from a checkpoint of an older version, which knows only the length of the record."""
        record = self._read()[:length]
        if len(record) < length:
            _logger.warning(
                "%s has lost %d bytes since the checkpoint: its curves have a gap.",
                self.path,
                length - len(record),
            )
        self._rewind(record[: record.rfind(b"\n") + 1])

    def _rewind(self, record: bytes) -> None:
        self._record = bytearray(record)
        # A link is replaced: whoever made the directory may have pointed it at a file of somebody else.
        if _is_strange(self.path) or not self._read().startswith(record):
            self._restore()
        elif record or self.path.exists():
            with writing(self.path), self.path.open("r+b") as file:
                file.truncate(len(record))

    def _restore(self) -> None:
        """Write the record anew, after somebody else has changed the file. What is there is kept under another name."""
        kept = self.path.with_name(self.path.name + ".corrupt")
        _logger.warning(
            "%s was changed by something else: it is restored, and what was there is in %s.",
            self.path,
            kept.name,
        )
        with writing(self.path):
            if os.path.lexists(self.path):
                self.path.replace(kept)
        with atomic_file(self.path) as file:
            file.write(self._record)

    def _read(self) -> bytes:
        with writing(self.path), contextlib.suppress(FileNotFoundError, IrregularFileError):
            return read_regular(self.path)
        return b""


def record_in(logger_state: Mapping[str, Any]) -> bytes:
    """Return what a checkpoint knows of `metrics.jsonl`; older ones know only its length."""
    state = logger_state.get("record")
    return b"" if state is None else _unpack(state)


def _unpack(state: Mapping[str, Tensor]) -> bytes:
    """Raise `ValueError` or `zlib.error` unless it is a whole record, of at most half of the memory."""
    unpacker = zlib.decompressobj()
    record = unpacker.decompress(bytes(state["compressed"].numpy()), memory_bytes() // 2)
    if not unpacker.eof:
        raise ValueError("its record is cut short, or larger than the memory")
    return record


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_strange(path: Path) -> bool:
    """Whether it is a link, a folder, a pipe or anything else that this program does not make."""
    return path.is_symlink() or (path.exists() and not path.is_file())


def _finite(value: float) -> float | None:
    value = value if isinstance(value, int) else float(value)
    return value if math.isfinite(value) else None


def append(path: Path, data: bytes) -> None:
    """Append all of `data` to `path`, or nothing. Raises `UserError` if the disk refuses."""
    with writing(path), path.open("ab", buffering=0) as file:
        start = file.seek(0, io.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(start)
            raise
