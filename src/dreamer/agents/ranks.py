"""Several processes that learn as one: each from its own rows of every batch, all with the same weights.

Process 0, the leader, also acts, evaluates and keeps the run. The others take what it hands out. With equal
shares, the mean of the shares' means is the mean of the batch; so averaged gradients are those of the whole
batch, up to rounding, wherever a loss is a mean over its rows.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from dreamer.errors import UserError


class PeerError(UserError):
    """Another process of this run has ended, so that nothing can be exchanged any more."""


Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of every tensor of a batch."""


class Ranks:
    """This process among `size` others of `torch.distributed`; alone, nothing is sent and nothing changes.

    All processes call the same methods in the same order. Each raises `PeerError` if another has ended.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process is the one that acts, evaluates and keeps."""
        return self.rank == 0

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's share of something that every process has drawn for the whole batch."""
        share = whole.shape[dim] // self.size
        return whole.narrow(dim, self.rank * share, share)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, cut from the graph; alone, the value itself."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        with _together():
            dist.all_reduce(total)
        return total / self.size

    def means(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The mean of each over all processes, in one exchange, each laid out in memory as it was.

        The fused Adam takes a gradient's memory as it lies, and weights of convolutions are `channels_last`.
        """
        if self.size == 1:
            return tuple(tensors)
        flat = self.mean(torch.cat([tensor.flatten() for tensor in tensors]))
        parts = flat.split([tensor.numel() for tensor in tensors])
        pairs = zip(tensors, parts, strict=True)
        return tuple(torch.empty_like(tensor).copy_(part.view_as(tensor)) for tensor, part in pairs)

    def mean_scalars(self, scalars: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean of each scalar over all processes, float32, in one exchange."""
        if self.size == 1:
            return scalars
        stacked = self.mean(torch.stack([value.detach().float() for value in scalars.values()]))
        return dict(zip(scalars, stacked.unbind(), strict=True))

    def same(self, value: Tensor) -> bool:
        """Whether `value` is equal to the last bit in all processes."""
        if self.size == 1:
            return True
        least, most = value.detach().clone(), value.detach().clone()
        with _together():
            dist.all_reduce(least, dist.ReduceOp.MIN)
            dist.all_reduce(most, dist.ReduceOp.MAX)
        return torch.equal(least, most)

    # -- from the leader to the others -------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        """Send the others anything that can be pickled."""
        with _together():
            dist.broadcast_object_list([message], src=0, device=torch.device("cpu"))

    def hear(self) -> Any:
        """Wait for what the leader tells."""
        box: list[Any] = [None]
        with _together():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def layout(self, batch: dict[str, Tensor]) -> Layout:
        """What each process gets of a batch `(B, L, ...)`: `B / size` rows."""
        return {key: ((len(x) // self.size, *x.shape[1:]), x.dtype) for key, x in batch.items()}

    def hand_out(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give every process its rows of a batch; the leader's own are returned."""
        rows = {}
        for key, whole in batch.items():
            shares = list(whole.contiguous().chunk(self.size))
            rows[key] = torch.empty_like(shares[0])
            with _together():
                dist.scatter(rows[key], shares, src=0)
        return rows

    def take(self, layout: Layout, device: torch.device) -> dict[str, Tensor]:
        """The rows that the leader hands out."""
        rows = {key: torch.empty(shape, dtype=dtype, device=device) for key, (shape, dtype) in layout.items()}
        for tensor in rows.values():
            with _together():
                dist.scatter(tensor, src=0)
        return rows


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """What fails between processes fails because one of them has ended; but for want of memory, here."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerError(
            "Another process of this run has ended: look for its error above; the same command goes on from"
            " the last checkpoint."
        ) from error


def leave(status: int) -> NoReturn:
    """End this process with `status`; at once if it is still joined to others, as after an error.

    Gloo's threads may abort a process that cleans up while a connection breaks, and its status would be lost.
    """
    if dist.is_available() and dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
