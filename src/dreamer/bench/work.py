"""Counted work, and the least time that a machine of measured speeds needs for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dreamer.agents.precision import pick_dtype
from dreamer.results.timing import copy_speed, product_speed


@dataclass(frozen=True)
class Work:
    """Operations of matrix products and convolutions (a multiply-add is two), and bytes that must move."""

    flops: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Roof:
    """What one device was measured to do in one precision: large products, and copies of memory."""

    flops_per_s: float
    bytes_per_s: float

    def floor(self, work: Work) -> float:
        """Return the seconds that `work` takes at least: the longer of its products and its bytes."""
        return max(work.flops / self.flops_per_s, work.bytes / self.bytes_per_s)


def measure_roof(device: torch.device, precision: str) -> Roof:
    """Measure both speeds; takes about a second."""
    speed = product_speed(device, pick_dtype(precision, device))
    return Roof(1e12 * speed, copy_speed(device))


def count_flops(call: Callable[[], object]) -> int:
    """Run `call` once and return the operations of its products and convolutions, backward passes included.

    Elementwise operations are not counted: they move bytes rather than compute.
    """
    threads = torch.get_num_threads()
    # A counter sees its own thread alone; with one core, behaviour learning does not take another.
    torch.set_num_threads(1)
    try:
        with FlopCounterMode(display=False) as counter:
            call()
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops()


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes that tensors take, each counted once."""
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())
