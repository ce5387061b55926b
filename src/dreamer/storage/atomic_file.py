"""Write a file atomically: it appears completely or not at all, whatever happens meanwhile."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dreamer.errors import writing

TEMPORARY_SUFFIX = ".tmp"
"""End of the name of every temporary file. Before it stand the file's own name and a number that nobody can guess."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which replaces it durably when the block ends without an error.

    After an error the temporary file is removed, and the old file at `path` is untouched.
    Raises `UserError` if the disk is full, read-only or failing, or if a device or a pipe would be replaced.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with writing(path):
            if path.exists() and not path.is_file():
                raise OSError(errno.EINVAL, "it is no ordinary file")
            with temporary.open(
                "xb"
            ) as file:  # exclusively: it never writes into what somebody has put there
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _fsync_directory(path.parent)
    finally:
        with suppress(OSError):  # A read-only file system refuses even this.
            temporary.unlink()


def remove_leftovers(directory: Path, files: str = "*") -> None:
    """Remove the temporary files of `files` that a killed process left in `directory`."""
    for path in directory.glob(files + TEMPORARY_SUFFIX):
        path.unlink(missing_ok=True)


def _fsync_directory(directory: Path) -> None:
    """Make a rename durable: the new name is on disk only when its directory has been synced."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
