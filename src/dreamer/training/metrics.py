"""What a run writes down: `metrics.jsonl`, the record, and TensorBoard beside it.

`metrics.jsonl` has one JSON object a line: the counters `env_step`, `agent_step`, `grad_step` and
`seconds`, then the scalars of that moment (`train/return`, `model/kl`, ...). A value that is not finite
is written as `null`, so that every line is valid JSON; TensorBoard keeps the NaN or infinity itself.
"""

import errno
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import imageio.v3 as imageio
import numpy as np
import torch
from torch import Tensor

from dreamer.errors import UserError


class Counters(Protocol):
    """How far a run is; see "Counters" in `docs/architecture.md`."""

    @property
    def env_step(self) -> int: ...
    @property
    def agent_step(self) -> int: ...
    @property
    def grad_step(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Mean:
    """Running means of named scalars between two writes.

    Tensors stay on their device and are summed there: nothing waits for the GPU until `pop`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, scalars: Mapping[str, Tensor | float]) -> None:
        """Add one value per name; tensors of one element are detached from their graph."""
        for name, value in scalars.items():
            # The sum is a new tensor: a captured CUDA graph may overwrite `value` at its next replay.
            value = value.detach().double().reshape(()) if isinstance(value, Tensor) else float(value)
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def pop(self) -> dict[str, float]:
        """Return the means since the last `pop`, in one transfer per device, and start again."""
        by_device: dict[torch.device, dict[str, Tensor]] = {}
        sums: dict[str, float] = {}
        for name, total in self._sums.items():
            if isinstance(total, Tensor):
                by_device.setdefault(total.device, {})[name] = total
            else:
                sums[name] = total
        for tensors in by_device.values():
            sums |= zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True)
        means = {name: sums[name] / count for name, count in self._counts.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, dict[str, float]]:
        """Sums and counts since the last `pop`, for a checkpoint."""
        return {"sums": {name: float(x) for name, x in self._sums.items()}, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


class MetricsWriter:
    """Append to `logdir/metrics.jsonl` and to `logdir/tensorboard`.

    A checkpoint stores `offset()`; `rewind(offset)` before the first write of a resumed run drops what
    was written after that checkpoint, so that the record has neither a gap nor a duplicate.
    """

    def __init__(self, logdir: Path) -> None:
        self.path = Path(logdir) / "metrics.jsonl"
        self._tensorboard_dir = Path(logdir) / "tensorboard"
        self._purge_step: int | None = None
        self._board = None
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, counters: Counters, scalars: Mapping[str, float]) -> None:
        """Append one line, and the scalars to TensorBoard at x = `env_step`.

        Raises:
            UserError: The disk is full; the file then still ends with its last whole line.
        """
        line: dict[str, float | None] = {
            "env_step": counters.env_step,
            "agent_step": counters.agent_step,
            "grad_step": counters.grad_step,
            "seconds": round(counters.seconds, 3),
        }
        line |= {name: _finite(value) for name, value in scalars.items()}
        _append(self.path, json.dumps(line) + "\n")
        try:
            for name, value in scalars.items():
                self._tensorboard.add_scalar(name, float(value), counters.env_step)
        except OSError as error:
            raise _disk_error(self._tensorboard_dir, error) from error

    def video(self, tag: str, frames: np.ndarray, counters: Counters, fps: float = 20.0) -> None:
        """Show `frames`, uint8 `(T, H, W, 3)`, as an animated picture in TensorBoard.

        Raises:
            UserError: The disk is full.
        """
        # TensorBoard plays an image summary that is a GIF; `add_video` would need a further package.
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        gif = imageio.imwrite("<bytes>", frames, extension=".gif", duration=1000 / fps, loop=0)
        height, width = frames.shape[1:3]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        try:
            self._tensorboard.file_writer.add_summary(summary, counters.env_step)
        except OSError as error:
            raise _disk_error(self._tensorboard_dir, error) from error

    def offset(self) -> int:
        """Return the length of `metrics.jsonl` in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, offset: int) -> None:
        """Cut `metrics.jsonl` back to `offset` bytes and hide later events of TensorBoard."""
        if not self.path.exists():
            return
        kept = self.path.read_bytes()[:offset]
        # A record shorter than the checkpoint knew, as after a power cut, may end within a line.
        kept = kept[: kept.rfind(b"\n") + 1]
        with self.path.open("r+b") as file:
            file.truncate(len(kept))
        self.close()
        self._purge_step = json.loads(kept.splitlines()[-1])["env_step"] + 1 if kept else 0

    def close(self) -> None:
        """Write out what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()
            self._board = None

    @property
    def _tensorboard(self) -> Any:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # Takes seconds to import: only when used.

            self._board = SummaryWriter(str(self._tensorboard_dir), purge_step=self._purge_step)
        return self._board


def _finite(value: float) -> float | None:
    value = value if isinstance(value, int) else float(value)
    return value if math.isfinite(value) else None


def _append(path: Path, text: str) -> None:
    """Append all of `text` to `path`, or nothing."""
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, io.SEEK_END)
        try:
            data = text.encode()
            while data:
                data = data[file.write(data) :]
        except OSError as error:
            file.truncate(start)
            raise _disk_error(path, error) from error


def _disk_error(path: Path, error: OSError) -> UserError | OSError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UserError(
        f"The disk is full: free some space on the disk of {path}, then run the same command again."
    )
