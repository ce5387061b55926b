"""Metrics on disk: `metrics.jsonl`, and the same for TensorBoard.

`metrics.jsonl` has one JSON object a line: the counters `env_step`, `agent_step`, `grad_step` and
`seconds`, then the scalars of that moment (`train/return`, `model/kl`, ...). A value that is not finite
is written as `null`, so that every line is valid JSON; TensorBoard gets the NaN or infinity itself.
"""

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

from dreamer.errors import writing


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


class MetricsWriter:
    """Append to `logdir/metrics.jsonl` and to `logdir/tensorboard`.

    A checkpoint stores `offset()`. `rewind(offset)`, before a resumed run writes its first line, drops what
    was written after that checkpoint, so that the metrics have neither a gap nor a duplicate.
    """

    def __init__(self, logdir: Path) -> None:
        self.path = Path(logdir) / "metrics.jsonl"
        self._tensorboard_dir = Path(logdir) / "tensorboard"
        self._purge_step: int | None = None
        self._board = None
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, counters: Counters, scalars: Mapping[str, float]) -> None:
        """Append one line, and the scalars to TensorBoard at x = `env_step`.

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
        _append(self.path, json.dumps(line) + "\n")
        with writing(self._tensorboard_dir):
            for name, value in scalars.items():
                self._tensorboard.add_scalar(name, float(value), counters.env_step)

    def video(self, tag: str, images: np.ndarray, counters: Counters, fps: float = 20.0) -> None:
        """Show images `(T, H, W, 3)`, uint8, as a video in TensorBoard.

        Raises:
            UserError: The disk refuses.
        """
        # TensorBoard plays an image summary that is a GIF; `add_video` would need a further package.
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        gif = imageio.imwrite("<bytes>", images, extension=".gif", duration=1000 / fps, loop=0)
        height, width = images.shape[1:3]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        with writing(self._tensorboard_dir):
            self._tensorboard.file_writer.add_summary(summary, counters.env_step)

    def offset(self) -> int:
        """Return the length of `metrics.jsonl` in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, offset: int) -> None:
        """Cut `metrics.jsonl` back to `offset` bytes and hide later events of TensorBoard.

        Raises:
            UserError: The disk refuses.
        """
        if not self.path.exists():
            return
        with writing(self.path), self.path.open("r+b") as file:
            kept = file.read(offset)
            # If the file is shorter than the checkpoint says, as after a power cut, it may end within a line.
            kept = kept[: kept.rfind(b"\n") + 1]
            file.truncate(len(kept))
        self.close()
        self._purge_step = json.loads(kept.splitlines()[-1])["env_step"] + 1 if kept else 0

    def close(self) -> None:
        """Write out what TensorBoard still buffers. Raises `UserError` if the disk refuses."""
        board, self._board = self._board, None
        if board is not None:
            with writing(self._tensorboard_dir):
                board.close()

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
    with writing(path), path.open("ab", buffering=0) as file:
        start = file.seek(0, io.SEEK_END)
        try:
            data = text.encode()
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(start)
            raise
