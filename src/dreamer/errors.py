"""The one exception that a user is meant to read, and what its sentences are made of."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something the user can put right: one clear sentence that says what to do.

    The command line prints it without a traceback and exits with status 2.
    """


MAKE_ROOM = "make room there or make it writable, then run the same command again to go on"
"""What to do about a file of a run that cannot be written."""


@contextmanager
def writing(path: Path, advice: str = MAKE_ROOM) -> Iterator[None]:
    """Raise `UserError`, with what to do, if the disk refuses what the block writes to `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path} ({_reason(error)}): {advice}.") from error


def _reason(error: OSError) -> str:
    """Return the text of the error, or the last line of a message of many lines (ffmpeg)."""
    return error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[-1]


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean a, b or c?)` with up to three similar names, or an empty string."""
    similar = [prefix + other for other in difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)]
    if not similar:
        return ""
    *most, last = similar
    return f" (did you mean {', '.join(most)}{' or ' if most else ''}{last}?)"
