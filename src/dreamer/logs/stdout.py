"""Standard output that is closed, or that may go away: a closed terminal, `| head`, a full disk."""

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from dreamer.errors import UserError

_logger = logging.getLogger(__name__)


class Stdout:
    """Write to `stream` until that fails; then warn, and send everything to the null device.

    So a run goes on, and Python does not complain when it flushes the stream at its end. If the output is all that
    a command is for, it is `needed`: then it raises `UserError`, or `BrokenPipeError` if its reader has left.
    """

    def __init__(self, stream: TextIO | None = None, needed: bool = False) -> None:
        self._stream = stream or sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
        self._needed = needed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def close(self) -> None:
        """Stay open: an environment that closes `sys.stdout` must not end the run."""

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        discard(self._stream)
        if not self._needed:
            _logger.warning("The output has gone (%s): going on without it.", error.strerror)
        elif isinstance(error, BrokenPipeError):
            raise error
        else:
            raise UserError(f"Cannot write the output ({error.strerror}): send it elsewhere.") from error


def discard(stream: TextIO) -> None:
    """Redirect `stream` to the null device, with what it still buffers, if it is a file of the system."""
    with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), stream.fileno())


def open_closed_streams() -> None:
    """Open the null device for each of stdin, stdout and stderr that is closed, as some schedulers start programs.

    Otherwise the next files that are opened would take their places, and get what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(opened, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def write_any_character() -> None:
    """Let stdout and stderr write characters as escapes that the terminal does not have, such as umlauts in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
