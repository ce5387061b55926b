"""Standard output that may go away in the middle of a run: a closed terminal, `| head`, a full disk."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO


class Stdout:
    """Write to `stream` until that fails; then set `lost` and send everything to the null device.

    So a run can still save its work, and Python does not complain when it flushes the stream at its end.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.lost = False
        self._stream = stream or sys.stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        try:
            return self._stream.write(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        try:
            self._stream.flush()
        except OSError:
            self._lose()

    def _lose(self) -> None:
        self.lost = True
        discard(self._stream)


def discard(stream: TextIO) -> None:
    """Redirect `stream` to the null device, with what it still buffers, if it is a file of the system."""
    with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), stream.fileno())
