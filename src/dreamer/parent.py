"""End with the process that started this one, whatever this one is doing: a simulator may hang, also at 100 %.

This needs only the standard library.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
LOOK_EVERY = 1.0
"""Seconds between two looks for the parent, where the kernel does not help."""


def end_with(parent: int) -> None:
    """Be killed when the process `parent` ends, which must be the parent. Exit at once if it has ended already.

    Linux does that, and already when the THREAD ends that started this process. Elsewhere a thread of this process
    looks for the parent, as long as nothing keeps it from running.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        sys.exit("The process that started this one has ended before it began.")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)
