"""What this machine is and has: its processor, cores and memory, and how much memory was used."""

import os
import platform
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def processor() -> str:
    """Return the processor's name if the system tells it, else its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the bytes of memory of the machine, or of its container if that has less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return total if text == "max" else min(total, int(text))


def reset_peak_memory(device: "torch.device") -> None:
    """Let `peak_memory` count from now on; on systems other than Linux the peak of the process stays."""
    if device.type == "cuda":
        import torch  # takes seconds, and what only asks for the cores does not need it

        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5)


def peak_memory(device: "torch.device") -> dict[str, int]:
    """Return the most bytes that the process had in memory, and that PyTorch reserved on a GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"process memory": peak if sys.platform == "darwin" else 1024 * peak}
    if device.type == "cuda":
        import torch

        found["GPU memory"] = torch.cuda.max_memory_reserved(device)
    return found


def peak_memory_of_children() -> int:
    """Return the most bytes that each child process had in memory, summed over those that run now; only Linux tells."""
    found = 0
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a process may end meanwhile
            for child in children.read_text().split():
                status = Path("/proc", child, "status").read_text()
                found += 1024 * sum(map(int, re.findall(r"VmHWM:\s*(\d+) kB", status)))
    return found


def size(count: float) -> str:
    """Return a number of bytes in words: `12 MiB`, `5.2 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
