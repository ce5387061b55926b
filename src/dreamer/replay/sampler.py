"""Draw sequences from past episodes (paper, Algorithm 1, line 5: "draw B data sequences").

A row is a window of T elements of an episode with n elements. The episode is drawn uniformly, and then the start of
the window uniformly from 0 to n - T, so that windows reach the last element. (TF2 draws it from 0 to n - T - 1, and so
never trains on an episode's last element.)

Of the n - T + 1 windows, only one holds the first element, and T hold an element of the middle. With
`prioritize_ends`, starts are drawn uniformly from -(T - 1) to n - 1, and then clipped to
0..n - T. So no element is drawn less often than one of the middle. (DreamerV2's option of this name does
so only for the end.)

An episode shorter than the row is taken whole. The row then goes on with other uniformly drawn episodes from their
start until it is full (the last one is cut); `is_first` marks where each begins. TF2 leaves short episodes out.
"""

from typing import Any, NamedTuple

import numpy as np

from dreamer.errors import UserError
from dreamer.replay.episode_file import DamagedEpisodeError
from dreamer.replay.store import EpisodeStore

NumpyBatch = dict[str, np.ndarray]
"""A batch before it is moved to the learner's device: the arrays of which `dreamer.types.Batch` has the tensors."""


class Window(NamedTuple):
    """`length` elements of an episode from `start` on, which go to a row of the batch from `offset` on."""

    row: int
    offset: int
    episode_id: int
    start: int
    length: int


class SequenceSampler:
    """Draw batches of B = `batch_size` sequences of T = `batch_length` elements from a store."""

    def __init__(
        self, store: EpisodeStore, batch_size: int, batch_length: int, prioritize_ends: bool = False
    ) -> None:
        self.store = store
        self.batch_size = batch_size
        self.batch_length = batch_length
        self.prioritize_ends = prioritize_ends

    def draw(self, rng: np.random.Generator) -> list[Window]:
        """Choose the windows that fill a batch. Raises `UserError` if there is no episode."""
        self._check_not_empty()
        ids, lengths = self.store.ids, self.store.lengths
        drawn = rng.integers(len(ids), size=self.batch_size)
        latest = np.maximum(lengths[drawn] - self.batch_length, 0)  # the last start whose window fits
        if self.prioritize_ends:
            starts = np.clip(rng.integers(1 - self.batch_length, lengths[drawn]), 0, latest)
        else:
            starts = rng.integers(latest, endpoint=True)
        windows = []
        for row, (number, start) in enumerate(zip(drawn.tolist(), starts.tolist(), strict=True)):
            filled = 0
            while filled < self.batch_length:
                if filled:
                    number, start = int(rng.integers(len(ids))), 0
                length = min(int(lengths[number]) - start, self.batch_length - filled)
                windows.append(Window(row, filled, int(ids[number]), start, length))
                filled += length
        return windows

    def sample(self, rng: np.random.Generator, out: NumpyBatch | None = None) -> NumpyBatch:
        """Draw a batch: the episodes' keys as `(B, T, ...)`, and `is_first`, bool `(B, T)`.

        Fills the arrays of `out` if it is given (see `allocate`). Raises `UserError` if there is no episode.
        """
        out = self.allocate() if out is None else out
        while not self._fill(out, self.draw(rng)):
            pass
        out.update(self.per_row())
        return out

    def _fill(self, out: NumpyBatch, windows: list[Window]) -> bool:
        """Read the windows into a batch. Return False if an episode is damaged.

        The store has then removed it, and `sample` draws again.
        """
        out["is_first"][:] = False
        try:
            for row, offset, episode_id, start, length in windows:
                self.store.read(episode_id, start, out, (row, slice(offset, offset + length)))
                out["is_first"][row, offset] = start == 0
        except DamagedEpisodeError:
            return False
        return True

    def allocate(self) -> NumpyBatch:
        """Return uninitialized arrays `(B, T, ...)` of a batch, for `sample` to fill."""
        leading = (self.batch_size, self.batch_length)
        self._check_not_empty()
        return self.store.allocate(leading) | {"is_first": np.empty(leading, np.bool_)}

    def _check_not_empty(self) -> None:
        if not len(self.store):
            raise UserError(
                f"There is no episode in {self.store.directory} to learn from: collect one first."
            )

    # -- for samplers that draw by priority; here all sequences are alike --------------------------------

    by_priority = False
    """Whether what is drawn next depends on what was learned from the batch before."""

    def per_row(self) -> NumpyBatch:
        """Return further keys of the batch drawn last, with one number per row `(B,)`: here there are none."""
        return {}

    def set_priorities(self, priorities: np.ndarray) -> None:
        """Take the priorities `(B,)` of the batch drawn last: here they change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: here nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
