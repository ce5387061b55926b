"""What a run's process does before it becomes `dreamer train`; it needs the standard library alone.

    python child.py PARENT LOCK ARGUMENT...

1. It asks Linux to be killed together with its parent, so that no run outlives its sweep.
2. It gives way to everything else on the machine (`nice`), and hears all signals.
3. It waits for the run that was here before: one killed with its node may take seconds to go.
4. It says when and where the run begins, and becomes `python -m dreamer train ARGUMENT...`.
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
"""Seconds to wait for the lock of the run; after that `dreamer train` itself says who holds it."""
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def die_with(parent: int) -> None:
    """Have this process killed when the THREAD that started it ends; at once if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("The sweep ended before this run began.")


def give_way() -> None:
    """Lower the priority, and unblock the signals: a worker of Ray blocks some, and children inherit that."""
    os.nice(max(0, NICE - os.nice(0)))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def wait_until_free(lock: Path, patience: float = PATIENCE) -> None:
    """Wait until no process holds `lock`, a file that may be missing, but no longer than `patience`."""
    end = time.monotonic() + patience
    while lock.exists() and time.monotonic() < end:
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(0.2)


def main(parent: str, lock: str, *arguments: str) -> None:
    """Become `dreamer train` with these arguments."""
    die_with(int(parent))
    give_way()
    wait_until_free(Path(lock))
    begun, host = time.strftime("%Y-%m-%d %H:%M:%S"), socket.gethostname()
    sys.stdout.write(f"== {begun}, {host}, process {os.getpid()}: dreamer train {' '.join(arguments)}\n")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dreamer", "train", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
