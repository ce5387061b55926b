"""`dreamer sweep` as a user types it, with runs that take seconds."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dreamer

SHORT = ["--seeds", "1", "--preset", "debug", "--agent", "random", "--image-size", "32", "--device", "cpu"]
"""Random actions learn nothing, so that a run is over as soon as its process has started."""
SCHEDULE = ["--time-limit", "50", "--video-every", "0", "--eval-every", "0", "--checkpoint-every", "500"]


class Commands:
    """Starts sweeps in `directory`; what is left of them at the end of a test is killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start `dreamer sweep` with these arguments besides those for short runs."""
        line = [
            sys.executable,
            "-m",
            "dreamer",
            "sweep",
            "--out",
            self.directory,
            *SHORT,
            *SCHEDULE,
            *arguments,
        ]
        environment = os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1])}
        process = subprocess.Popen(
            list(map(str, line)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def finish(self, *arguments: object) -> tuple[int, str]:
        """Run `dreamer sweep` to its end; return its exit status and what it printed."""
        return ended(self.start(*arguments))

    def log(self, run: str) -> str:
        """What a run has printed so far."""
        path = self.directory / f"{run}.log"
        return path.read_text() if path.exists() else ""

    def process_ids(self, run: str) -> list[int]:
        """The processes that a run has had."""
        return [int(number) for number in re.findall(r"^== .* process (\d+): ", self.log(run), re.MULTILINE)]

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a command; return its exit status and what it printed."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_until(holds: Callable[[], object], seconds: float = 300) -> None:
    """Wait until `holds()` is true; the test fails if that takes too long.

    The runs of a sweep have the lowest priority: on a machine that is busy otherwise, they get a tenth of a core.
    """
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "this has taken too long"
        time.sleep(0.1)


def alive(process_id: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    with suppress(OSError):
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
