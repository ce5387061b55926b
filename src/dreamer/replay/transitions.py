"""Transitions drawn from past episodes by priority, each with the elements around it.

A row is a sequence like any other (`sampler.py`): `before` elements of context, the element at which the transition
begins, and the `after` elements that follow. Every element of an episode but its last begins a transition. If the
episode has too few elements before or after, the row is filled up with its element 0, which `is_first` marks as the
beginning of another episode.

    an episode of 6 elements, before = 2, after = 3         row              is_first
    transition from element 0                               0 0 0 1 2 3      1 1 1 0 0 0
    transition from element 4, the last                     2 3 4 5 0 0      0 0 0 0 1 1

Transition i is drawn with probability P(i) = p_i^a / sum_j p_j^a, where the learner sets the priorities p after each
update. A row's `weight` in the loss is (N P(i))^-b, divided by the largest of the batch (Schaul et al. 2016, Sections
3.3 and 3.4). A transition that was never drawn has the largest priority so far.
"""

from typing import Any

import numpy as np
import torch

from dreamer.replay.sampler import NumpyBatch, SequenceSampler, Window
from dreamer.replay.store import EpisodeStore
from dreamer.replay.sum_tree import SumTree
from dreamer.types import Transitions

SMALLEST = 1e-6
"""Added to every priority, so that no transition is lost for good."""


class TransitionSampler(SequenceSampler):
    """Draw batches of B = `batch_size` transitions from a store, by priority."""

    by_priority = True

    def __init__(self, store: EpisodeStore, batch_size: int, transitions: Transitions) -> None:
        self.transitions = transitions
        super().__init__(store, batch_size, transitions.before + 1 + transitions.after)
        self._forget_all()

    def _forget_all(self) -> None:
        # Transitions are numbered by age, and number x is item x % size of the tree: a ring.
        self._episodes = np.zeros(0, np.int64)  # their ids
        # The number of each episode's first transition, and of the first that comes after all of them.
        self._begins = np.zeros(1, np.int64)
        self._tree = SumTree(1024)
        self._largest = 1.0  # p^a
        self._drawn = np.zeros(0, np.int64)  # items of the last batch, row by row
        self._rewinds = self.store.rewinds

    def draw(self, rng: np.random.Generator) -> list[Window]:
        """Choose the windows that fill a batch. Raises `UserError` if there is no episode."""
        self._check_not_empty()
        self._follow_store()
        self._drawn = self._tree.draw(self.batch_size, rng)
        # The number of an item is the only one of those in the store that equals it modulo the size.
        numbers = self._begins[0] + (self._drawn - self._begins[0]) % self._tree.size
        episodes = np.searchsorted(self._begins, numbers, side="right") - 1
        starts, lengths = numbers - self._begins[episodes], self.store.lengths[episodes]
        rows = zip(self._episodes[episodes].tolist(), starts.tolist(), lengths.tolist(), strict=True)
        return [window for row, place in enumerate(rows) for window in self._windows(row, *place)]

    def _windows(self, row: int, episode_id: int, start: int, length: int) -> list[Window]:
        """Return the row around the transition that begins at element `start`."""
        before, after = self.transitions.before, self.transitions.after
        first, end = max(0, start - before), min(length, start + after + 1)
        padding = before - (start - first)
        filled = padding + end - first
        resets = [*range(padding), *range(filled, self.batch_length)]
        whole = Window(row, padding, episode_id, first, end - first)
        return [whole, *(Window(row, offset, episode_id, 0, 1) for offset in resets)]

    def per_row(self) -> NumpyBatch:
        """Return the importance weights of the batch drawn last, `weight`: float32 (B,)."""
        probabilities = self._tree[self._drawn] / self._tree.total
        weights = (self._count * probabilities) ** -self.transitions.correction
        return {"weight": (weights / weights.max()).astype(np.float32)}

    def set_priorities(self, priorities: np.ndarray) -> None:
        """Give the rows of the batch drawn last their priorities (B,), each at least 0."""
        powers = (priorities.astype(np.float64) + SMALLEST) ** self.transitions.exponent
        self._tree[self._drawn] = powers
        self._largest = max(self._largest, float(powers.max()))

    @property
    def _count(self) -> int:
        return int(self._begins[-1] - self._begins[0])

    # -- following the store -----------------------------------------------------------------------------

    def _follow_store(self) -> None:
        """Forget the transitions that the store has evicted, and add its new ones."""
        if self.store.rewinds != self._rewinds:
            self._forget_all()
        if self._episodes is self.store.ids:
            return
        # Only the oldest episodes are evicted, and new ones come last.
        oldest = self.store.ids[0] if len(self.store) else np.inf
        gone = int(np.searchsorted(self._episodes, oldest))
        self._tree[np.arange(self._begins[0], self._begins[gone]) % self._tree.size] = 0.0
        kept = len(self._episodes) - gone
        new = np.cumsum(self.store.lengths[kept:] - 1)
        self._begins = np.concatenate([self._begins[gone:], self._begins[-1] + new])
        self._episodes = self.store.ids
        self._append(int(new[-1]) if len(new) else 0)

    def _append(self, number: int) -> None:
        """Give the newest transitions the largest priority so far, in a larger tree if they are too many."""
        if self._count > self._tree.size:
            kept = np.arange(self._begins[0], self._begins[-1] - number)
            priorities = self._tree[kept % self._tree.size]
            self._tree = SumTree(2 * self._count)
            self._tree[kept % self._tree.size] = priorities
        new = np.arange(self._begins[-1] - number, self._begins[-1])
        self._tree[new % self._tree.size] = self._largest

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the priorities p^a of all transitions in the store, and the largest so far."""
        self._follow_store()
        numbers = np.arange(self._begins[0], self._begins[-1])
        return {
            "ids": torch.from_numpy(self._episodes.copy()),
            "lengths": torch.from_numpy(np.diff(self._begins)),
            "first": int(self._begins[0]),
            "size": self._tree.size,
            "priorities": torch.from_numpy(self._tree[numbers % self._tree.size]),
            "largest": self._largest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`, the store being what it was; episodes that it has lost are left out."""
        lengths, ids = state["lengths"].numpy(), state["ids"].numpy()
        kept = np.isin(ids, self.store.ids)
        priorities = state["priorities"].numpy()[np.repeat(kept, lengths)]
        self._forget_all()
        self._largest = state["largest"]
        self._episodes = self.store.ids
        self._begins = state["first"] + np.concatenate([[0], np.cumsum(lengths[kept])])
        self._tree = SumTree(state["size"])
        self._tree[np.arange(self._begins[0], self._begins[-1]) % self._tree.size] = priorities
