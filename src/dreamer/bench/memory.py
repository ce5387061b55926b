"""The most memory that something takes at once, in the process and on the device."""

from collections.abc import Iterator
from pathlib import Path

import torch

from dreamer.bench.figure import Figure, Variant, figure_of
from dreamer.bench.work import Work
from dreamer.results.doctor import peak_memory_bytes

MEMORY = "memory"
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What Linux takes as the wish to measure a process's peak anew (proc(5))."""


def reset_peaks(device: torch.device) -> None:
    """Begin to measure peaks anew; a system that cannot do so for the process keeps its highest of all."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return


def peaks(device: torch.device, what: str, variant: Variant) -> Iterator[Figure]:
    """The peaks of `what` since they were reset: resident memory of the process, and of the GPU.

    There, that of tensors, and what PyTorch has reserved for them, which no other program can have.
    """
    yield _figure(f"process, peak of {what}", variant, status_bytes("VmHWM") or peak_memory_bytes())
    if device.type == "cuda":
        yield _figure(f"on the GPU, peak of {what}", variant, torch.cuda.max_memory_allocated(device))
        yield _figure(f"reserved on the GPU, peak of {what}", variant, torch.cuda.max_memory_reserved(device))


def status_bytes(name: str) -> int | None:
    """Return a field of Linux's account of this process: `VmHWM` its peak, `RssAnon` what no file backs."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return 1024 * int(fields[name].split()[0]) if name in fields else None


def _figure(name: str, variant: Variant, count: int) -> Figure:
    return figure_of(MEMORY, name, variant, "bytes", [float(count)], Work(), None)
