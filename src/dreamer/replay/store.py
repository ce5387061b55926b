"""The episodes of a run on disk (paper, Algorithm 1: the dataset D).

Each episode is one file, `episode-<id>-<length>.npz`. It is written once and atomically. Memory stays bounded in
long runs: the store keeps a few hundred bytes per episode, and files are in the kernel's page cache.

Nothing is believed unchecked. When an episode is read for the first time, or its file has changed since, the whole file
is compared with its checksums. An unsound file is reported, renamed to `*.corrupt` and left out from then on.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from dreamer.errors import UserError, writing
from dreamer.replay.episode_file import (
    DamagedEpisodeError,
    Episode,
    Head,
    Layout,
    Signature,
    length_of,
    not_finite,
    read_episode,
    read_head,
    read_window,
    signature_of,
    write_episode,
)
from dreamer.storage.atomic_file import remove_leftovers

FILE_NAME = re.compile(r"episode-(\d{8,18})-(\d{1,18})\.npz(\.corrupt)?")
MOST = 2**27
"""Episodes of the largest store."""
_logger = logging.getLogger(__name__)


class EpisodeStore:
    """Episodes by ascending id, in a directory that one process writes.

    With a `capacity` (in agent steps) the oldest episodes are evicted: they are no longer drawn (live), and are deleted
    when no checkpoint needs them any more (see `commit`). Mode `"r"` changes nothing on disk.
    """

    def __init__(
        self,
        directory: Path | str,
        capacity: int = 0,
        mode: Literal["a", "r"] = "a",
        signature: Signature | None = None,
    ) -> None:
        """Open or make the store. Files whose structure is damaged are set aside.

        So are episodes that do not have the `signature`, or that of most others if it is not given.

        Raises `UserError` if the directory cannot be read or made, or if no episode there has the `signature`.
        """
        self.directory = Path(directory)
        self._capacity = capacity
        self._writable = mode == "a"
        self.ids = np.zeros(0, np.int64)
        """Ids of the live episodes in ascending order, `(N,)`; a change makes a new array."""
        self.lengths = np.zeros(0, np.int64)
        """Number of elements of each live episode, including the reset, in the order of `ids`: `(N,)`."""
        self._signature = signature
        self._layouts: dict[int, Layout] = {}  # of every sound file, live or not
        self._checksums: dict[int, int] = {}  # likewise
        self._distinct_layouts: dict[Layout, Layout] = {}
        self._checked: dict[int, tuple[int, int]] = {}  # size and time of a file when it was last checked
        self._corrupt: set[int] = set()
        self._evicted: set[int] = set()  # since the last commit
        self._expired: set[int] = set()  # before the last commit; the older of two checkpoints needs them
        self._next_id = 0
        self.rewinds = 0
        """How often others than the oldest episodes were taken out. After it, an id may belong to another episode."""
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
        self._add(episode_id, read_head(path))
        self.ids = np.append(self.ids, episode_id)
        self.lengths = np.append(self.lengths, length)
        self._evict()
        return episode_id

    def episode(self, episode_id: int | np.integer) -> Episode:
        """Read a whole episode.

        Raises `DamagedEpisodeError` if it is unsound or gone: it has been left out. Raises `UserError` if it cannot be
        read.
        """
        with self._reading(int(episode_id)) as layout:
            head = Head(layout, self._checksums[int(episode_id)])
            return read_episode(self._path(int(episode_id), length_of(layout)), head)

    def read(self, episode_id: int, start: int, out: Episode, where: Any) -> None:
        """Read as many elements from `start` on as `out[key][where]` holds: contiguous arrays `(n, ...)`.

        Raises as `episode` does.
        """
        with self._reading(episode_id) as layout:
            path = f"{self.directory}/{name_of(episode_id, length_of(layout))}"
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it may be a pipe by now
            try:
                self._check(episode_id, layout, file)
                read_window(file, layout, start, out, where)
            finally:
                os.close(file)

    def allocate(self, leading: tuple[int, ...]) -> Episode:
        """Return uninitialized arrays `(*leading, ...)` for elements of episodes. There must be an episode."""
        layout = self._layouts[int(self.ids[0])]
        return {key: np.empty(leading + shape[1:], dtype) for key, dtype, shape, _ in layout}

    def extent(self) -> dict:
        """Return the state of the store for a checkpoint, as JSON.

        That is half-open ranges of live ids, the checksums of these episodes, and the next id.
        """
        gaps = np.flatnonzero(np.diff(self.ids) > 1) + 1
        ranges = [[int(run[0]), int(run[-1]) + 1] for run in np.split(self.ids, gaps) if len(run)]
        checksums = [self._checksums[i] for i in self.ids.tolist()]
        return {"episodes": ranges, "checksums": checksums, "next_id": self._next_id}

    def rewind(self, extent: dict) -> None:
        """Go back to the state in which `extent` was taken. Later episodes are deleted.

        Episodes that are missing, or others than they were, are reported and left out; damaged ones have been. If that
        is most of them, raises `UserError` and changes nothing; so does `ValueError` if the extent contradicts itself.
        """
        ids = ids_in(extent)
        recorded = set(ids)
        made = dict(zip(ids, extent.get("checksums", ()), strict=False))
        others = {i for i in made if made[i] != self._checksums.get(i, made[i])}
        if missing := sorted((recorded - self._layouts.keys() - self._corrupt) | others):
            names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            of = f"of the {len(recorded)} episodes of the checkpoint"
            what = f"{of}, {len(missing)} are missing or others (id {names})"
            if len(missing) > len(recorded) / 2:  # they are probably somewhere else
                raise UserError(
                    f"In {self.directory}, {what}: put them back, or start in a new run directory."
                )
            _logger.warning("In %s, %s: going on without them.", self.directory, what)
        for episode_id in others:
            path = self._path(episode_id, length_of(self._forget(episode_id)))
            self._set_aside(episode_id, path, "the checkpoint was made with another one")
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
                if match := FILE_NAME.fullmatch(path.name):
                    self._register(path, int(match[1]), bool(match[3]))
            self._check_signatures()
        except OSError as error:
            raise UserError(
                f"Cannot open the episodes in {self.directory} ({error.strerror}: {error.filename}): make them"
                " readable."
            ) from error
        self._set_live(self._layouts)
        self._evict()

    def _register(self, path: Path, episode_id: int, set_aside: bool) -> None:
        """Add one file that was found on disk."""
        self._next_id = max(self._next_id, episode_id + 1)
        if set_aside:
            self._corrupt.add(episode_id)
            return
        try:
            head = read_head(path)
            if path.name != name_of(episode_id, length_of(head.layout)):
                raise DamagedEpisodeError("its length is not the one in its name")
            if episode_id in self._layouts:
                raise DamagedEpisodeError("there is another file of this episode")
            self._add(episode_id, head)
        except DamagedEpisodeError as reason:
            self._set_aside(episode_id, path, reason)
        except FileNotFoundError:
            if path.is_symlink():
                self._set_aside(episode_id, path, "it is a link to nothing")
            elif self._writable:
                raise
            # Else the process that trains here has deleted it since the directory was listed.

    def _check_signatures(self) -> None:
        """Set aside what is no episode of this run."""
        numbers = Counter(self._layouts.values())
        found = {layout: signature_of(layout) for layout in numbers}
        if self._signature is None:
            self._signature = _most_frequent(found, numbers)
        elif found and self._signature not in found.values():
            self._refuse(self._signature, next(iter(found.values())))
        for episode_id, layout in list(self._layouts.items()):
            if found[layout] != self._signature:
                reason = f"it holds {found[layout]}, but episodes of this run {self._signature}"
                self._set_aside(episode_id, self._path(episode_id, length_of(layout)), reason)
                self._forget(episode_id)

    def _add(self, episode_id: int, head: Head) -> None:
        # Episodes of one length share one layout, so an episode costs two dictionary entries.
        self._layouts[episode_id] = self._distinct_layouts.setdefault(head.layout, head.layout)
        self._checksums[episode_id] = head.checksum
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
        for episode_id in list(ids):
            layout = self._forget(episode_id)
            if self._writable:
                self._path(episode_id, length_of(layout)).unlink(missing_ok=True)

    def _forget(self, episode_id: int) -> Layout:
        self._checked.pop(episode_id, None)
        self._checksums.pop(episode_id)
        return self._layouts.pop(episode_id)

    @contextmanager
    def _reading(self, episode_id: int) -> Iterator[Layout]:
        """Give the layout of an episode. If what is read is unsound, leave the episode out and raise all the same."""
        layout = self._layouts[episode_id]
        try:
            yield layout
        except DamagedEpisodeError as reason:
            self._set_aside(episode_id, self._path(episode_id, length_of(layout)), reason)
            self._leave_out(episode_id)
            raise
        except OSError as error:
            path = self._path(episode_id, length_of(layout))
            if not isinstance(error, FileNotFoundError) or not self.directory.is_dir():
                raise UserError(f"Cannot read the episode {path}: {error.strerror}.") from error
            if self._writable:  # else the process that trains here has deleted it
                _logger.warning("Episode %s is gone: going on without it.", path)
            self._leave_out(episode_id)
            raise DamagedEpisodeError("it is gone") from error

    def _check(self, episode_id: int, layout: Layout, file: int) -> None:
        """Compare a file with its checksums, unless it is as it was the last time."""
        status = os.fstat(file)
        stamp = status.st_size, status.st_mtime_ns
        if self._checked.get(episode_id) != stamp:
            head = Head(layout, self._checksums[episode_id])
            read_episode(self._path(episode_id, length_of(layout)), head)
            self._checked[episode_id] = stamp

    def _set_aside(self, episode_id: int, path: Path, reason: object) -> None:
        """Report an unsound file and rename it."""
        _logger.warning("Episode %s is damaged (%s): going on without it.", path, reason)
        self._corrupt.add(episode_id)
        if self._writable:
            with writing(path):
                path.rename(path.with_name(path.name + ".corrupt"))

    def _leave_out(self, episode_id: int) -> None:
        """Forget an episode that was counted as sound so far."""
        self._forget(episode_id)
        self._evicted.discard(episode_id)
        self._expired.discard(episode_id)
        self._set_live(set(self.ids.tolist()) - {episode_id})
        self.rewinds += 1

    def _path(self, episode_id: int, length: int) -> Path:
        return self.directory / name_of(episode_id, length)

    def _check_writable(self) -> None:
        if not self._writable:
            raise ValueError(f"The store in {self.directory} was opened to read only.")

    def _check_fits(self, episode: Episode) -> None:
        lengths = {key: len(array) for key, array in episode.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(f"The arrays of an episode must have one length of 1 or more, not {lengths}.")
        if strange := not_finite(episode):
            raise UserError(
                f"An episode has numbers in {strange!r} that are not finite, or beyond float32: mend or scale what the"
                " environment returns."
            )
        new = signature_of(episode)
        if self._signature is None:
            self._signature = new
        if new != self._signature:
            self._refuse(new, self._signature)

    def _refuse(self, new: Signature, known: Signature) -> NoReturn:
        raise UserError(
            f"The environment's episodes hold {new}, but those in {self.directory} hold {known}: use the environment of"
            " that run, or a new run directory."
        )


def ids_in(extent: dict) -> list[int]:
    """Return the ids of the live episodes of an `extent`. Raises `ValueError` if it contradicts itself."""
    ranges, next_id = extent["episodes"], extent["next_id"]
    bounds = [bound for first, end in ranges for bound in (first, end)]
    if not all(isinstance(bound, int) for bound in (*bounds, next_id)) or bounds != sorted(bounds):
        raise ValueError("its episodes are not counted in order")
    if [0, *bounds][-1] > next_id or min([0, *bounds]) < 0:
        raise ValueError(f"its next episode is {next_id}, and it was made with later ones")
    count = sum(end - first for first, end in ranges)
    if count > MOST or count != len(extent.get("checksums", range(count))):
        raise ValueError(f"its {count} episodes are not those of its checksums")
    return [i for first, end in ranges for i in range(first, end)]


def name_of(episode_id: int, length: int) -> str:
    """Return the name of the file of an episode."""
    return f"episode-{episode_id:08d}-{length}.npz"


def _most_frequent(signatures: dict[Layout, Signature], numbers: Counter[Layout]) -> Signature | None:
    """Return the signature that most episodes have."""
    votes: Counter[tuple[tuple[str, str], ...]] = Counter()
    for layout, signature in signatures.items():
        votes[tuple(sorted(signature.items()))] += numbers[layout]
    return dict(votes.most_common(1)[0][0]) if votes else None
