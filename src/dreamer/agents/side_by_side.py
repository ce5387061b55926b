"""Two computations that need nothing of each other, at the same time on a CPU.

A gradient step is thousands of operations, most too small to share between cores. The world model's backward
pass and all of behaviour learning start from the same posterior states and then go their own ways: with half
of the cores each they take about half the time, and every number stays as it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

First = TypeVar("First")
Second = TypeVar("Second")


class SideBySide:
    """Runs pairs of functions, the second of each in a thread of its own."""

    def __init__(self, device: torch.device):
        self.device = device
        self._thread: ThreadPoolExecutor | None = None

    def run(self, first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
        """What both return. One after the other where there are not two cores, and on a GPU."""
        cores = torch.get_num_threads()
        if self.device.type != "cpu" or cores < 2:
            return first(), second()
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="behavior")
        torch.set_num_threads(cores - cores // 2)
        try:
            running = self._thread.submit(_with_threads, cores // 2, second)
            try:
                return first(), running.result()
            finally:
                running.exception()  # waits: nothing may go on behind an error of the first
        finally:
            torch.set_num_threads(cores)


def _with_threads(cores: int, function: Callable[[], Second]) -> Second:
    torch.set_num_threads(cores)
    return function()
