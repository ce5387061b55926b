"""How the process deals with the host's memory."""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # names of malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for the next allocation; whether it could be asked to.

    By default glibc gives every large block back to the system at once, and takes it anew, page by page and
    zeroed, for the next tensor: on a CPU some 70,000 page faults an update at the paper's sizes (batch
    16x32), a twelfth of its time. The process keeps as much as it once needed at most.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, as musl
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
