"""Prepare the process of a run, and become `dreamer train`. This needs only the standard library.

    python child.py PARENT LOCK ARGUMENT...

1. Ask Linux to kill this process when its parent ends, so that no run outlives its sweep.
2. Lower the priority (`nice`), and unblock all signals.
3. Wait until an earlier process of this run has ended. One that was killed with its node may take seconds.
4. Print when and where the run begins, and become `python -m dreamer train ARGUMENT...`.
"""

import ctypes
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path

NICE = 10
PATIENCE = 60.0
"""Seconds to wait for the lock of the run. After that, `dreamer train` fails and says that it is locked."""
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def die_with(parent: int) -> None:
    """Let Linux kill this process when the THREAD that started it ends. Exit at once if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("The sweep ended before this run began.")


def give_way() -> None:
    """Lower the priority, and unblock all signals, because children inherit those that a Ray worker blocks."""
    os.nice(max(0, NICE - os.nice(0)))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def wait_until_free(lock: Path, patience: float = PATIENCE) -> None:
    """Wait until no process holds `lock`, a file that may be missing, or until `patience` seconds are over."""
    end = time.monotonic() + patience
    while lock.exists() and time.monotonic() < end:
        try:
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.2)
        except OSError:  # a file system without locks
            return


def main(parent: str, lock: str, *arguments: str) -> None:
    """Prepare this process as above, and become `dreamer train` with these arguments."""
    die_with(int(parent))
    give_way()
    wait_until_free(Path(lock))
    begun, host = time.strftime("%Y-%m-%d %H:%M:%S"), socket.gethostname()
    sys.stdout.write(f"== {begun}, {host}, process {os.getpid()}: dreamer train {' '.join(arguments)}\n")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dreamer", "train", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
