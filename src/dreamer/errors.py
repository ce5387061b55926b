"""The one exception that a user is meant to read, and how a disk that refuses becomes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something the user can put right: one clear sentence that says what to do.

    The command line prints it without a traceback and exits with status 2.
    """


GO_ON = "make room there or make it writable, then run the same command again to go on"
"""What to do about a file of a run; the place of other files can be chosen."""


@contextmanager
def writing(path: Path, advice: str = GO_ON) -> Iterator[None]:
    """Raise `UserError`, with what to do, where the disk refuses what the block writes to `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path} ({_reason(error)}): {advice}.") from error


def _reason(error: OSError) -> str:
    """A few words; of a report of many lines (an encoder's) the last, which says what ended it."""
    return error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[-1]
