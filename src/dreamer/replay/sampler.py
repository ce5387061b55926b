"""Sequences drawn from past episodes (paper, Algorithm 1, line 4: "Draw B data sequences").

A row is a window of an episode: the episode uniform over all, then its start uniform over 0..n-L, so that the
last element is reached too.
# TF2: the official code draws the start below n-L-1 and never trains on an episode's last element.

An episode shorter than the row is taken whole, and the row goes on with further uniformly drawn episodes from
their start until it is full (the last one cut); `is_first` marks where each begins. The official code leaves
short episodes out.
"""

import numpy as np

from dreamer.errors import UserError
from dreamer.replay.episode_file import Episode
from dreamer.replay.store import EpisodeStore

Batch = dict[str, np.ndarray]


class SequenceSampler:
    """Draws batches of B = `batch_size` sequences of L = `batch_length` elements from a store."""

    def __init__(self, store: EpisodeStore, batch_size: int, batch_length: int) -> None:
        self.store = store
        self.batch_size = batch_size
        self.batch_length = batch_length

    def allocate(self) -> Batch:
        """Uninitialised arrays (B, L, ...) of a batch, for `sample` to fill."""
        leading = (self.batch_size, self.batch_length)
        example = self.store.episode(self._ids()[0])
        batch = {key: np.empty(leading + array.shape[1:], array.dtype) for key, array in example.items()}
        return batch | {"is_first": np.empty(leading, np.bool_)}

    def sample(self, rng: np.random.Generator, out: Batch | None = None) -> Batch:
        """Draw a batch: the episodes' keys as (B, L, ...), and `is_first`, bool (B, L).

        Fills the arrays of `out` if given (see `allocate`). Raises `UserError` if there is no episode.
        """
        ids, lengths = self._ids(), self.store.lengths
        out = self.allocate() if out is None else out
        out["is_first"][:] = False
        drawn = rng.integers(len(ids), size=self.batch_size)
        starts = rng.integers(np.maximum(lengths[drawn] - self.batch_length, 0), endpoint=True)
        for row, (episode_id, start) in enumerate(zip(ids[drawn], starts.tolist(), strict=True)):
            filled = self._copy(out, row, 0, self.store.episode(episode_id), start)
            while filled < self.batch_length:
                episode = self.store.episode(ids[rng.integers(len(ids))])
                filled = self._copy(out, row, filled, episode, 0)
        return out

    def _copy(self, out: Batch, row: int, filled: int, episode: Episode, start: int) -> int:
        """Continue a row with an episode from `start` on; returns how far the row is filled now."""
        end = min(filled + len(episode["action"]) - start, self.batch_length)
        for key, array in episode.items():
            out[key][row, filled:end] = array[start : start + end - filled]
        out["is_first"][row, filled] = start == 0
        return end

    def _ids(self) -> np.ndarray:
        if not len(self.store):
            raise UserError(
                f"There is no episode in {self.store.directory} to learn from: collect one first."
            )
        return self.store.ids
