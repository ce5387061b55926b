"""Read files that anybody may have put there: a pipe would never end, and a huge file would fill the memory."""

import errno
import os
import stat
from pathlib import Path
from typing import IO, BinaryIO

from dreamer.machine import memory_bytes

MOST_TEXT = 2**26
"""Bytes of the largest file of options, or of similar text, that is read."""


class IrregularFileError(OSError):
    """It is a folder, a pipe or a device, or too large: nothing that this program has written."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: Path, most: int | None = None) -> BinaryIO:
    """Open a file of at most `most` bytes, by default half of the memory.

    Raises `OSError` if it cannot be opened, and of this kind `IrregularFileError` if it is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # to open a pipe would wait for who writes
    status, most = os.fstat(descriptor), most or memory_bytes() // 2
    reason = "" if stat.S_ISREG(status.st_mode) else "it is no ordinary file"
    if status.st_size > most:
        reason = reason or f"its {status.st_size:,} bytes are too many"
    if reason:
        os.close(descriptor)
        raise IrregularFileError(errno.EINVAL, reason, str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int | None = None) -> bytes:
    """Read the whole of a file. Raises as `open_regular` does."""
    with open_regular(path, most) as file:
        return file.read()


def open_lock(file: Path) -> IO[str]:
    """Open a file to lock, which is made if it is missing. Raises `OSError` if that is not possible.

    Not through a link, and nothing is cut: somebody else may have put it there.
    """
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))
