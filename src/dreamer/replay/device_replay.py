"""Keep the replay in the memory of the device that learns, where a batch is one gather by index for each key.

Images stay uint8 there; the encoder normalizes them.
"""

import contextlib
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from dreamer.errors import UserError
from dreamer.replay.episode_file import DamagedEpisodeError, Episode
from dreamer.replay.feed import to_device
from dreamer.replay.sampler import SequenceSampler, Window

GROWTH = 1.25
"""Factor by which the tensors grow, at least."""


class DeviceReplay:
    """Yield the batches of `sampler` from a copy of its store's episodes on `device`.

    Each key has one tensor, used as a ring buffer: new episodes overwrite the oldest when the store has evicted
    them. Element `x`, counted since the ring was made, is in slot `x % slots`.
    """

    def __init__(self, sampler: SequenceSampler, device: torch.device | str, slots: int) -> None:
        """Make room for `slots` elements. If more come, the tensors grow."""
        self.sampler = sampler
        self.device = torch.device(device)
        self.slots = slots
        self._tensors: dict[str, Tensor] = {}  # `is_first` is one more key
        self._begins: dict[int, int] = {}  # id of a live episode, oldest first -> its first element
        self._end = 0  # the element with which the next episode will begin
        self._seen: tuple[np.ndarray | None, int] = (None, 0)  # of the store: its ids, and its rewinds

    def iterate(self, rng: np.random.Generator, n: int) -> Generator[dict[str, Tensor], None, None]:
        """Yield the batches that `n` calls of `sampler.sample(rng)` would give; see `Prefetcher.iterate`.

        Nothing is drawn ahead, because a GPU still computes earlier operations while this process draws.
        """
        for _ in range(n):
            yield self.sample(rng)

    def sample(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the batch that `sampler.sample(rng)` would give, as tensors on the device."""
        self._follow_store()
        slots = self._slots_of(self.sampler.draw(rng))
        leading = slots.shape
        slots = slots.to(self.device, non_blocking=True).flatten()
        per_row = to_device(self.sampler.per_row(), self.device)
        return per_row | {
            key: tensor.index_select(0, slots).unflatten(0, leading) for key, tensor in self._tensors.items()
        }

    def _slots_of(self, windows: list[Window]) -> Tensor:
        """Return the slot of every element of a batch: int64 `(B, L)`, in page-locked memory if it goes to a GPU.

        PyTorch keeps freed page-locked memory for the next batch and knows when the GPU has read it.
        """
        shape = (self.sampler.batch_size, self.sampler.batch_length)
        result = torch.empty(shape, dtype=torch.int64, pin_memory=self.device.type == "cuda")
        elements = result.numpy()
        for row, offset, episode_id, start, length in windows:
            first = self._begins[episode_id] + start
            elements[row, offset : offset + length] = np.arange(first, first + length)
        elements %= self.slots
        return result

    # -- following the store -----------------------------------------------------------------------------

    def _follow_store(self) -> None:
        """Drop episodes that the store has evicted, and copy its new ones. After a rewind, copy all of them."""
        store = self.sampler.store
        ids, rewinds = self._seen
        if store.ids is ids and store.rewinds == rewinds:
            return
        live = set(store.ids.tolist()) if store.rewinds == rewinds else set()
        self._begins = {i: begin for i, begin in self._begins.items() if i in live}
        for episode_id in store.ids.tolist():
            if episode_id not in self._begins:
                with contextlib.suppress(DamagedEpisodeError):  # The store goes on without it.
                    self._append(episode_id, store.episode(episode_id))
        self._seen = (store.ids, store.rewinds)

    def _append(self, episode_id: int, episode: Episode) -> None:
        length = len(episode["action"])
        self._make_room(length, episode)
        slot = self._end % self.slots
        until_seam = min(length, self.slots - slot)
        for key, array in _with_is_first(episode).items():
            new, tensor = torch.from_numpy(array.copy()), self._tensors[key]  # a copy: it is read-only
            tensor[slot : slot + until_seam].copy_(new[:until_seam])
            tensor[: length - until_seam].copy_(new[until_seam:])
        self._begins[episode_id] = self._end
        self._end += length

    def _make_room(self, length: int, example: Episode) -> None:
        """Allocate the tensors for episodes like `example`, or larger ones if `length` more elements do not fit."""
        oldest = next(iter(self._begins.values()), self._end)
        needed = self._end - oldest + length
        if self._tensors and needed <= self.slots:
            return
        before, kept = self.slots, self._end - oldest
        if needed > self.slots:
            self.slots = max(needed, int(GROWTH * self.slots))
        for key, array in _with_is_first(example).items():
            new = self._allocate(key, array)
            if key in self._tensors:
                _copy_ring(self._tensors[key], oldest % before, new[:kept])
            self._tensors[key] = new
        self._begins = {i: begin - oldest for i, begin in self._begins.items()}
        self._end = kept

    def _allocate(self, key: str, example: np.ndarray) -> Tensor:
        shape, dtype = (self.slots, *example.shape[1:]), torch.from_numpy(example[:0].copy()).dtype
        try:
            return torch.empty(shape, dtype=dtype, device=self.device)
        except RuntimeError as error:
            size = self.slots * example[0].nbytes / 2**30
            raise UserError(
                f"The replay does not fit into the memory of {self.device} ({size:.1f} GiB for {key!r}):"
                " run the same command with --replay-device disk."
            ) from error


def _with_is_first(episode: Episode) -> Episode:
    return episode | {"is_first": np.arange(len(episode["action"])) == 0}


def _copy_ring(ring: Tensor, first: int, out: Tensor) -> None:
    """Copy elements of a ring to `out`, from slot `first` on, around its end."""
    until_seam = min(len(out), len(ring) - first)
    out[:until_seam].copy_(ring[first : first + until_seam])
    out[until_seam:].copy_(ring[: len(out) - until_seam])
