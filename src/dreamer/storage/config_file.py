"""Read the `config.json` of a run, and name its lock; this loads no PyTorch."""

import json
from pathlib import Path
from typing import Any

from dreamer.config import METADATA, Config, from_file, what_became_of, with_options
from dreamer.env_args import of_today
from dreamer.errors import UserError
from dreamer.storage.regular_file import MOST_TEXT, read_regular

FILE = "config.json"
LOCK = ".lock"
"""File in the directory of a run that is locked by the process which trains there."""


def read_config(file: Path, **changes: Any) -> Config:
    """Return the options in a `config.json`, with some of them changed.

    Raises `UserError` if the file is missing or cannot be read, or if an earlier version with other options wrote it.
    """
    if not file.is_file():
        raise UserError(
            f"There is no {file}: give a directory that `dreamer train` wrote, or its config.json."
        )
    try:
        saved = json.loads(read_regular(file, MOST_TEXT))
        unknown = (
            [name for name in of_today(saved) if name not in METADATA] if isinstance(saved, dict) else []
        )
        if unknown:
            raise UserError(
                f"{file.parent} was made by an earlier version, whose options were others"
                f" ({what_became_of(unknown)}): use that version for it, or train anew in another --logdir."
            )
        return with_options(from_file(saved), changes)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error}): restore it, or start anew.") from error
