"""The directory of a run: its options, its lock, and whether it may be resumed (docs/architecture.md)."""

import fcntl
import json
import logging
from pathlib import Path
from shlex import quote
from typing import IO, Any

import torch

from dreamer.config import Config, to_flat
from dreamer.errors import UserError, writing
from dreamer.storage import checkpoint, config_file
from dreamer.storage.atomic_file import TEMPORARY_SUFFIX, atomic_file, remove_leftovers
from dreamer.storage.config_file import LOCK
from dreamer.storage.machine import record_machine
from dreamer.storage.regular_file import open_lock

NONE_YET = "none-yet"
"""File that is in `checkpoint/` until the first checkpoint is saved. A run with neither has lost its checkpoints."""

_logger = logging.getLogger(__name__)


class RunDirectory:
    """The files of one run under `path`."""

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / config_file.FILE
        self.checkpoints = path / "checkpoint"
        self.replay = path / "replay"
        self.videos = path / "videos"
        self._none_yet = self.checkpoints / NONE_YET
        self._lock: IO[str] | None = None

    @property
    def exists(self) -> bool:
        return self.config_file.exists()

    def check(self, config: Config) -> None:
        """Raise `UserError` if a run with other options is there, or one that lost its checkpoints.

        Nothing is changed on disk.
        """
        if not self.exists:
            if self.path.is_file() or (self.path.is_dir() and self._holds_something_else()):
                raise UserError(f"{self.path} exists and is not a run directory: choose another --logdir.")
            return
        self._check_options(config)
        self.check_checkpoints()

    def _holds_something_else(self) -> bool:
        """Whether there are files that are not left over from a run killed before it wrote `config.json`."""
        left_behind = self.config_file.name + "*" + TEMPORARY_SUFFIX
        return any(path.name != LOCK and not path.match(left_behind) for path in self.path.iterdir())

    def _check_options(self, config: Config) -> None:
        saved, made = self.config(), checkpoint.options_in(self.checkpoints)
        old, new = to_flat(saved), to_flat(config)  # options newer than the run have their defaults
        old |= {name: made[name] for name in checkpoint.WARNED & made.keys()}
        # With and without a decoder the weights are different ones.
        decoder = {"video_every"} if saved.has_decoder != config.has_decoder else set()
        changed = {
            name: f"{name} was {old.get(name)!r}, now {value!r}"
            for name, value in new.items()
            if old.get(name) != value
        }
        refused = [text for name, text in changed.items() if name in checkpoint.FIXED | decoder]
        warned = [text for name, text in changed.items() if name in checkpoint.WARNED]
        if refused:
            raise UserError(
                f"{self.path} holds a run with other options ({', '.join(refused)}): choose another --logdir,"
                f" or go on with the run's own options by `dreamer train --logdir {quote(str(self.path))}`."
            )
        with checkpoint.restoring(self.checkpoints, {"options": made}, config):
            pass  # before anything is made of options that something else has changed
        if warned:
            _logger.warning("%s goes on with other options: %s.", self.path, ", ".join(warned))

    def check_checkpoints(self) -> None:
        """Raise `UserError` if the checkpoints are gone, so that episodes and metrics are not overwritten."""
        if checkpoint.exists(self.checkpoints) or self._none_yet.exists():
            return
        metrics = self.path / "metrics.jsonl"
        if any(self.replay.glob("episode-*")) or (metrics.exists() and metrics.stat().st_size):
            raise UserError(
                f"{self.checkpoints} holds no checkpoint, although the run has episodes or metrics: put the"
                f" checkpoints back, or remove {self.path} to start anew."
            )

    def open(self, config: Config, device: torch.device) -> dict[str, Any] | None:
        """Lock the directory, write what runs there, and return the newest checkpoint, or None if there is none.

        Raises `UserError` if another process trains here, or if the disk refuses.
        """
        self.lock()
        saved = checkpoint.load(self.checkpoints)
        self.write_config(config)
        record_machine(self.path, device)
        self.note_checkpoint(saved=saved is not None)
        return saved

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint. Raises `UserError` if the disk refuses."""
        with writing(self.path):
            checkpoint.save(self.checkpoints, state)
            self.note_checkpoint(saved=True)

    def note_checkpoint(self, saved: bool) -> None:
        """Note on disk whether a checkpoint was ever `saved`. Call this before the first episode is stored.

        Raises `UserError` if the disk refuses.
        """
        with writing(self._none_yet):
            if saved:
                self._none_yet.unlink(missing_ok=True)
            else:
                self.checkpoints.mkdir(exist_ok=True)
                self._none_yet.touch()

    def lock(self) -> None:
        """Make the directory, and keep other processes from training here until `unlock`.

        Raises `UserError` if another process trains here, or if the directory cannot be made or written. Some file
        systems of clusters know no locks (ENOSYS, ENOLCK, EOPNOTSUPP): there a warning says so.
        """
        self._new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open_lock(self.path / LOCK)
        except OSError as error:
            raise UserError(
                f"Cannot write in {self.path} ({error.strerror}): choose a --logdir you can write to."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise UserError(
                f"Another process is training in {self.path}: wait for it, or stop it."
            ) from error
        except OSError as error:
            _logger.warning(
                "The file system of %s has no locks (%s): make sure yourself that no other process trains there.",
                self.path,
                error.strerror,
            )

    def unlock(self) -> None:
        """Let other processes train here again."""
        if self._lock is not None:
            self._lock.close()

    def write_config(self, config: Config) -> None:
        """Write `config.json` atomically. If that fails in a new directory, the directory is removed again."""
        try:
            remove_leftovers(self.path, "*.json*")
            with atomic_file(self.config_file) as file:
                file.write((json.dumps(to_flat(config), indent=2) + "\n").encode())
        except UserError:
            if self._new:
                (self.path / LOCK).unlink()
                self.path.rmdir()
            raise

    def config(self, **changes: Any) -> Config:
        """Return the configuration of the run, with some options changed.

        Raises `UserError` if there is no run, or if an earlier version with other options made it.
        """
        if not self.exists:
            raise UserError(f"{self.path} is not a run directory: it has no config.json.")
        return config_file.read_config(self.config_file, **changes)
