"""Exchange of tensors between the processes (ranks) of one run. Experimental; see `dreamer.distributed`.

Every rank has an equal number of rows of each batch. So the mean over ranks of the means over their rows is the mean of
the batch, and averaged gradients are those of the whole batch, up to rounding.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from dreamer.errors import UserError
from dreamer.types import Batch

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of each tensor of a rank's rows of a batch."""


class PeerError(UserError):
    """Raised if another rank of this run has ended, so that nothing can be exchanged any more."""


class Ranks:
    """This process, number `rank` of `size`. All ranks must call the same methods in the same order.

    Every method that exchanges something raises `PeerError` if another rank has ended.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which also acts, evaluates, logs and saves."""
        return self.rank == 0

    def all_reduce_mean(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the mean of each tensor over all ranks, detached and in float32, by one exchange."""
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        with _peer_errors():
            dist.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        return tuple(part.view_as(tensor) for tensor, part in zip(tensors, parts, strict=True))

    def all_equal(self, value: Tensor) -> bool:
        """Whether `value` is equal to the last bit in all ranks."""
        least, most = value.detach().clone(), value.detach().clone()
        with _peer_errors():
            dist.all_reduce(least, dist.ReduceOp.MIN)
            dist.all_reduce(most, dist.ReduceOp.MAX)
        return torch.equal(least, most)

    def broadcast(self, message: Any = None) -> Any:
        """Return rank 0's `message`, anything that can be pickled, in every rank."""
        box = [message]
        with _peer_errors():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def layout(self, batch: Batch) -> Layout:
        """Describe the rows of a batch `(B, T, ...)` that each rank gets: `B / size` of them."""
        return {key: ((len(x) // self.size, *x.shape[1:]), x.dtype) for key, x in batch.items()}

    def scatter(self, batch: Batch) -> Batch:
        """Send each rank its rows of a batch, in order; return those of rank 0, which calls this."""
        rows = {}
        for key, whole in batch.items():
            shards = list(whole.contiguous().chunk(self.size))
            rows[key] = torch.empty_like(shards[0])
            with _peer_errors():
                dist.scatter(rows[key], shards, src=0)
        return rows

    def receive(self, layout: Layout, device: torch.device) -> Batch:
        """Return the rows that rank 0 scatters; every other rank calls this."""
        rows = {key: torch.empty(shape, dtype=dtype, device=device) for key, (shape, dtype) in layout.items()}
        for tensor in rows.values():
            with _peer_errors():
                dist.scatter(tensor, src=0)
        return rows


@contextlib.contextmanager
def _peer_errors() -> Iterator[None]:
    """Convert errors of collective operations into `PeerError`. Out-of-memory errors are raised as they are."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerError(
            "Another process of this run has ended: look for its error above; the same command goes on from"
            " the last checkpoint."
        ) from error


def exit_process(status: int) -> NoReturn:
    """End this process; if it was one of several, skip the finalizers of Python and PyTorch.

    Gloo's threads sometimes abort a process while it finalizes, and then its exit status would be lost.
    """
    if "WORLD_SIZE" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
