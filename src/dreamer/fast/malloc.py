"""Let the process keep the memory that it has freed."""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # names of malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next allocation. Return whether it can.

    By default, glibc returns every large block to the system at once. For the next tensor it gets new pages, which the
    system must clear first: on a CPU some 70,000 page faults per update at the paper's sizes (batch 16x32), a twelfth
    of its time. With this, the process keeps as much memory as it ever needed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, as musl
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
