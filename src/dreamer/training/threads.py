"""How many threads PyTorch takes of processor cores that others may need, too.

Threads wait for each other after every operation. Where other programs take turns with them, that costs more than a
further thread gains: two threads on two busy cores are slower than one.
"""

import os
import time
from pathlib import Path

import torch

from dreamer.storage.machine import recorded_machines

LOOK = 0.25
"""Seconds over which it is measured which cores are idle."""


def set_threads(asked: int, run: Path | None = None) -> None:
    """Let PyTorch take as many threads as `asked` for, or for 0 as many as cores are idle, and at least one.

    A run that goes on takes as many as before, since another number adds in another order.
    """
    machines = recorded_machines(run) if run else []
    before = machines[-1].get("threads", 0) if machines else 0
    most = torch.get_num_threads()
    torch.set_num_threads(asked or min(most, before or max(1, round(idle_cores()))))


def idle_cores() -> float:
    """Return how many of the cores that this process may use have had nothing to do for a moment."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    before, start = _idle_seconds(), time.monotonic()
    time.sleep(LOOK)
    after, seconds = _idle_seconds(), time.monotonic() - start
    return sum(min(1.0, (after[core] - before[core]) / seconds) if core in after else 1.0 for core in cores)


def _idle_seconds() -> dict[int, float]:
    """Return how long each core has been idle; empty on systems that do not say it (see proc(5))."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines if line.startswith("cpu") and not line.startswith("cpu ")]
    ticks = os.sysconf("SC_CLK_TCK")
    return {int(name[3:]): (int(times[3]) + int(times[4])) / ticks for name, *times in words}


def busy() -> str:
    """Return a warning if programs want more cores than there are, else nothing."""
    wanted, cores = os.getloadavg()[0], os.cpu_count() or 1
    if wanted <= cores + 0.5:
        return ""
    return f"other programs want {wanted:.1f} cores of {cores}: everything takes longer than it could"
