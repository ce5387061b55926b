"""Batches on the learner's device, read from the episodes on disk (paper, Algorithm 1, line 5).

`DiskFeed` reads a batch when it is asked for one, `Prefetcher` during the update before.
"""

import copy
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dreamer.replay.sampler import NumpyBatch, SequenceSampler


def to_device(batch: NumpyBatch, device: torch.device | str) -> dict[str, Tensor]:
    """Return the batch as tensors of the same types and shapes. On the CPU they share its memory."""
    return {key: torch.from_numpy(array).to(device) for key, array in batch.items()}


class Feed(Protocol):
    """Source of the learner's batches."""

    @property
    def sampler(self) -> SequenceSampler:
        """The sampler that draws the rows of each batch."""
        ...

    def iterate(self, rng: np.random.Generator, n: int) -> Generator[dict[str, Tensor], None, None]:
        """Yield `n` batches. After each, `rng` is as if only the batches yielded so far had been drawn."""
        ...


class DiskFeed:
    """Draw each batch of `sampler` when it is asked for, and move it to `device`.

    Where priorities decide what is drawn (D4PG), those that the learner sets after one batch count in the next.
    """

    def __init__(self, sampler: SequenceSampler, device: torch.device | str) -> None:
        self.sampler = sampler
        self.device = torch.device(device)

    def iterate(self, rng: np.random.Generator, n: int) -> Generator[dict[str, Tensor], None, None]:
        """Yield the batches that `n` calls of `sampler.sample(rng)` give; see `Feed.iterate`."""
        for _ in range(n):
            yield to_device(self.sampler.sample(rng), self.device)


class Prefetcher:
    """Draw each batch of `sampler` in a thread, during the update before it, and move it to `device`."""

    def __init__(self, sampler: SequenceSampler, device: torch.device | str) -> None:
        self.sampler = sampler
        self.device = torch.device(device)

    def iterate(self, rng: np.random.Generator, n: int) -> Generator[dict[str, Tensor], None, None]:
        """Yield the batches that `n` calls of `sampler.sample(rng)` would give.

        After each batch, `rng` is as if only the batches yielded so far had been drawn, so a run that stops between two
        batches resumes with the same ones. No more than `n` are drawn, because the next batch may contain an
        episode that is appended later. The caller must not append episodes before the last batch is yielded. Errors of
        the thread are raised here.
        """
        if not n:
            return
        ahead = copy.deepcopy(rng)
        with ThreadPoolExecutor(1, thread_name_prefix="replay") as thread:
            drawing = thread.submit(self._draw, ahead, self._buffers())
            for remaining in reversed(range(n)):
                batch, state = drawing.result()
                if remaining:
                    drawing = thread.submit(self._draw, ahead, self._buffers())
                rng.bit_generator.state = state
                yield self._move(batch)

    def _buffers(self) -> dict[str, Tensor]:
        """Allocate memory for one batch; for a GPU it is page-locked, which asynchronous copies need.

        PyTorch keeps freed page-locked memory for the next batch and knows when the GPU has read it.
        """
        buffers = to_device(self.sampler.allocate(), "cpu")
        if self.device.type != "cuda":
            return buffers
        return {key: torch.empty_like(buffer, pin_memory=True) for key, buffer in buffers.items()}

    def _draw(self, rng: np.random.Generator, buffers: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """Fill the buffers. Return them and the generator's state afterward."""
        self.sampler.sample(rng, {key: buffer.numpy() for key, buffer in buffers.items()})
        return buffers, dict(rng.bit_generator.state)

    def _move(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        asynchronous = self.device.type == "cuda"
        return {key: tensor.to(self.device, non_blocking=asynchronous) for key, tensor in batch.items()}
