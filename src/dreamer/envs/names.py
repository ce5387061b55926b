"""Suggestions for a name that does not exist."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return the words ` (did you mean a, b or c?)` with up to three similar names, or an empty string."""
    close = [prefix + other for other in difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)]
    if not close:
        return ""
    *most, last = close
    return f" (did you mean {', '.join(most)}{' or ' if most else ''}{last}?)"
