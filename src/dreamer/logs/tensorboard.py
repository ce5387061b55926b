"""Metrics and videos for TensorBoard, to look at: a copy of what `metrics.jsonl` and `videos/` hold.

Each start of a run has an event file of its own. A checkpoint stores the size of every file, and a resumed run cuts
them back to it, so that what is written again is not there twice, however often the run is stopped.
"""

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.logs.board import Board, gif
from dreamer.logs.metrics import append


class TensorBoard(Board):
    """Append events to a file in `directory`."""

    name = "TensorBoard"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # TensorBoard reads the files in alphabetical order.
        self._file = directory / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._hidden_from: int | None = None

    def scalars(self, env_step: int, scalars: Mapping[str, float]) -> None:
        values = [{"tag": name, "simple_value": float(value)} for name, value in scalars.items()]
        self.attempt(lambda: self._write(env_step, values))

    def video(self, env_step: int, name: str, images: np.ndarray) -> None:
        """Show images `(T, H, W, 3)`, uint8, as an image that is a GIF, which TensorBoard plays."""
        self.attempt(lambda: self._write(env_step, [{"tag": name, "image": _image(images)}]))

    def close(self) -> None:
        """Nothing is left: every event is written at once."""

    def extent(self) -> dict[str, int]:
        """Return the size of every event file by its name, for a checkpoint."""
        return {path.name: path.stat().st_size for path in self._files()}

    def rewind(self, extent: Mapping[str, int], env_step: int) -> None:
        """Drop what was written after `extent` was taken, at `env_step`."""
        self._hidden_from = env_step + 1
        self.attempt(lambda: self._cut(extent))

    def _cut(self, extent: Mapping[str, int]) -> None:
        for path in self._files():
            if path.name not in extent or path.is_symlink():
                path.unlink()
            elif extent[path.name] < path.stat().st_size:
                with path.open("r+b") as file:
                    file.truncate(extent[path.name])

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("events.out.tfevents.*"))

    def _write(self, env_step: int, values: list[dict[str, Any]]) -> None:
        """Append one event, after the head of the file if that is not there yet, or no longer."""
        self.directory.mkdir(parents=True, exist_ok=True)
        head = b"" if self._file.exists() else self._head()
        append(self._file, head + _record(step=env_step, summary={"value": values}))

    def _head(self) -> bytes:
        """The version of the format; and a TensorBoard that is running forgets what it read of later frames."""
        head = _record(file_version="brain.Event:2")
        if self._hidden_from is None:
            return head
        return head + _record(step=self._hidden_from, session_log={"status": 1})  # START


def _record(**fields: Any) -> bytes:
    """An event as it stands in a file: its length and content, each followed by its checksum."""
    # Imported when something is written: it takes a moment, and may not fit the installed protobuf.
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    content = Event(wall_time=time.time(), **fields).SerializeToString()
    length = struct.pack("<Q", len(content))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + checksums[0] + content + checksums[1]


def _image(images: np.ndarray) -> dict[str, Any]:
    height, width = images.shape[1:3]
    return {"height": height, "width": width, "colorspace": 3, "encoded_image_string": gif(images)}
