"""Prepare the process of a run, and become `dreamer train`. This needs little more than the standard library.

    python child.py PARENT LOCK ARGUMENT...

1. Ask Linux to kill this process when its parent ends, so that no run outlives its sweep.
2. Lower the priority (`nice`), and unblock all signals.
3. Wait until an earlier process of this run has ended. One that was killed with its node may take seconds.
4. Print when and where the run begins, and become `python -m dreamer train ARGUMENT...`.
"""

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import sys
import time
from pathlib import Path

from dreamer.parent import end_with

NICE = 10
PATIENCE = 60.0
"""Seconds to wait for the lock of the run. After that, `dreamer train` fails and says that it is locked."""
AUTOGROUP = Path("/proc/self/autogroup")


def give_way() -> None:
    """Lower the priority, and unblock all signals, because children inherit those that a Ray worker blocks.

    Where Linux shares the cores among sessions first (`sched_autogroup`), `nice` counts only within this one, which the
    run has to itself. So the session gets the same priority.
    """
    os.nice(max(0, NICE - os.nice(0)))
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(os.nice(0)))
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
    end_with(int(parent))
    give_way()
    wait_until_free(Path(lock))
    begun, host = time.strftime("%Y-%m-%d %H:%M:%S"), socket.gethostname()
    sys.stdout.write(f"== {begun}, {host}, process {os.getpid()}: dreamer train {shlex.join(arguments)}\n")
    sys.stdout.flush()
    # -P: the current folder comes last in the search for modules, as for `dreamer` itself.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dreamer", "train", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
