"""The episodes of a run on disk (paper, Algorithm 1: the dataset D).

Each episode is one file, `episode-<id>-<length>.npz`. It is written once and atomically, and read by memory map.
Memory stays bounded in long runs: the store keeps a few hundred bytes per episode, and at most `max_mapped` open
mappings, whose pages belong to the kernel's page cache.
"""

import logging
import re
import resource
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from dreamer.errors import UserError
from dreamer.replay.episode_file import (
    DamagedEpisodeError,
    Episode,
    Layout,
    length_of,
    map_episode,
    read_layout,
    signature_of,
    write_episode,
)
from dreamer.storage.atomic_file import remove_leftovers

_FILE_NAME = re.compile(r"episode-(\d{8,})-(\d+)\.npz(\.corrupt)?")
_logger = logging.getLogger(__name__)


class EpisodeStore:
    """Episodes by ascending id, in a directory that one process writes.

    With a `capacity` (in agent steps) the oldest episodes are evicted: they are no longer drawn (live), and are deleted
    when no checkpoint needs them any more (see `commit`). Mode `"r"` changes nothing on disk.
    """

    def __init__(
        self, directory: Path | str, capacity: int = 0, mode: Literal["a", "r"] = "a", max_mapped: int = 512
    ) -> None:
        """Open or make the store. Damaged files are reported, renamed to `*.corrupt` and left out.

        Raises `UserError` if the directory cannot be read or made.
        """
        self.directory = Path(directory)
        self._capacity = capacity
        self._writable = mode == "a"
        self.ids = np.zeros(0, np.int64)
        """Ids of the live episodes in ascending order, `(N,)`; a change makes a new array."""
        self.lengths = np.zeros(0, np.int64)
        """Number of elements of each live episode, including the reset, in the order of `ids`: `(N,)`."""
        self._layouts: dict[int, Layout] = {}  # of every sound file, live or not
        self._distinct_layouts: dict[Layout, Layout] = {}
        self._corrupt: set[int] = set()
        self._evicted: set[int] = set()  # since the last commit
        self._expired: set[int] = set()  # before the last commit; the older of two checkpoints needs them
        self._next_id = 0
        self.rewinds = 0
        """How often `rewind` was called. After it, an id may belong to another episode."""
        # Each mapping holds a file descriptor. Half of them are left to the rest of the process.
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._map = lru_cache(max(1, min(max_mapped, descriptors // 2)))(self._map_file)
        self._open()

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, episode: Episode) -> int:
        """Write an episode and return its id.

        Raises `UserError` and changes nothing if the disk refuses, or if the arrays do not match the other episodes.
        """
        self._check_writable()
        self._check_fits(episode)
        episode_id, length = self._next_id, len(next(iter(episode.values())))
        path = self._path(episode_id, length)
        write_episode(path, episode)
        self._add(episode_id, read_layout(path))
        self.ids = np.append(self.ids, episode_id)
        self.lengths = np.append(self.lengths, length)
        self._evict()
        return episode_id

    def episode(self, episode_id: int | np.integer) -> Episode:
        """Return the read-only, memory-mapped arrays of an episode. Raises `UserError` if its file is gone."""
        return self._map(int(episode_id))

    def extent(self) -> dict:
        """Return the state of the store for a checkpoint, as JSON: half-open ranges of live ids, and the next id."""
        gaps = np.flatnonzero(np.diff(self.ids) > 1) + 1
        ranges = [[int(run[0]), int(run[-1]) + 1] for run in np.split(self.ids, gaps) if len(run)]
        return {"episodes": ranges, "next_id": self._next_id}

    def rewind(self, extent: dict) -> None:
        """Go back to the state in which `extent` was taken. Later episodes are deleted.

        Damaged episodes, which have been reported, may be missing. If others are, raises `UserError` and changes
        nothing.
        """
        recorded = {i for first, end in extent["episodes"] for i in range(first, end)}
        if missing := sorted(recorded - self._layouts.keys() - self._corrupt):
            names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise UserError(
                f"The checkpoint was made with episodes that are missing in {self.directory} (id {names}):"
                " put them back, or start in a new run directory."
            )
        self.rewinds += 1
        self._delete([i for i in self._layouts if i >= extent["next_id"]])
        self._set_live(recorded & self._layouts.keys())
        self._evicted = self._layouts.keys() - recorded
        self._expired = set()
        self._next_id = extent["next_id"]

    def commit(self) -> None:
        """Note that a checkpoint with the present `extent` is safely on disk.

        Deletes episodes that were evicted before the PREVIOUS commit: the last two checkpoints are kept, and the
        older one must stay usable.
        """
        self._check_writable()
        self._delete(self._expired)
        self._expired, self._evicted = self._evicted, set()

    def _open(self) -> None:
        try:
            if self._writable:
                self.directory.mkdir(parents=True, exist_ok=True)
                remove_leftovers(self.directory)
            for path in sorted(self.directory.iterdir()):
                if match := _FILE_NAME.fullmatch(path.name):
                    self._register(path, int(match[1]), int(match[2]), bool(match[3]))
        except OSError as error:
            raise UserError(f"Cannot open the episodes in {self.directory}: {error.strerror}.") from error
        self._set_live(self._layouts)
        self._evict()

    def _register(self, path: Path, episode_id: int, length: int, set_aside: bool) -> None:
        """Add one file that was found on disk."""
        self._next_id = max(self._next_id, episode_id + 1)
        if set_aside:
            self._corrupt.add(episode_id)
            return
        try:
            layout = read_layout(path)
            if length_of(layout) != length:
                raise DamagedEpisodeError("its length is not the one in its name")
            self._add(episode_id, layout)
        except DamagedEpisodeError as reason:
            self._corrupt.add(episode_id)
            _logger.warning("Episode %s is damaged (%s): going on without it.", path, reason)
            if self._writable:
                path.rename(path.with_name(path.name + ".corrupt"))

    def _add(self, episode_id: int, layout: Layout) -> None:
        # Episodes of one length share one layout, so an episode costs one dictionary entry.
        self._layouts[episode_id] = self._distinct_layouts.setdefault(layout, layout)
        self._next_id = max(self._next_id, episode_id + 1)

    def _set_live(self, ids: Iterable[int]) -> None:
        self.ids = np.array(sorted(ids), np.int64)
        self.lengths = np.array([length_of(self._layouts[i]) for i in self.ids], np.int64)

    def _evict(self) -> None:
        """Remove the oldest episodes until the rest fits the capacity. The newest always stays."""
        if not self._capacity:
            return
        kept_steps = np.cumsum((self.lengths - 1)[::-1])[::-1]
        too_old = kept_steps > self._capacity
        too_old[-1:] = False
        self._evicted.update(self.ids[too_old].tolist())
        self.ids, self.lengths = self.ids[~too_old], self.lengths[~too_old]

    def _delete(self, ids: Iterable[int]) -> None:
        self._map.cache_clear()  # While a deleted file is mapped, its space stays occupied.
        for episode_id in list(ids):
            layout = self._layouts.pop(episode_id)
            if self._writable:
                self._path(episode_id, length_of(layout)).unlink(missing_ok=True)

    def _map_file(self, episode_id: int) -> Episode:
        layout = self._layouts[episode_id]
        path = self._path(episode_id, length_of(layout))
        try:
            return map_episode(path, layout)
        except OSError as error:
            raise UserError(f"Cannot read the episode {path}: {error.strerror}.") from error

    def _path(self, episode_id: int, length: int) -> Path:
        return self.directory / f"episode-{episode_id:08d}-{length}.npz"

    def _check_writable(self) -> None:
        if not self._writable:
            raise ValueError(f"The store in {self.directory} was opened to read only.")

    def _check_fits(self, episode: Episode) -> None:
        lengths = {key: len(array) for key, array in episode.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(f"The arrays of an episode must have one length of 1 or more, not {lengths}.")
        if not self._layouts:
            return
        known, new = signature_of(next(iter(self._layouts.values()))), signature_of(episode)
        if known != new:
            raise UserError(
                f"The environment's episodes hold {new}, but those in {self.directory} hold {known}:"
                " use the environment of that run, or a new run directory."
            )
