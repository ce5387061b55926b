"""Start one run of a sweep as a process, and interpret how it ends."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamer.errors import writing
from dreamer.storage.config_file import LOCK
from dreamer.sweep import child
from dreamer.training.signals import SIGNALS


@dataclass(frozen=True)
class Command:
    """`dreamer train` for one run."""

    arguments: tuple[str, ...]
    """Arguments of `dreamer train`, except `--logdir`."""
    logdir: Path
    threads: int
    """The `OMP_NUM_THREADS` of the run."""
    folder: Path
    """Folder in which the command runs: modules of tasks such as `gym:my_module:MyEnv-v0` are found there."""

    @property
    def log(self) -> Path:
        """File beside the run's directory for everything that it prints. A resumed run appends to it."""
        return self.logdir.with_name(self.logdir.name + ".log")


@dataclass(frozen=True)
class Exit:
    """How a process of a run ended.

    - `ended`: by itself, at the end of the run or because a signal asked it to stop (status 128 + the number).
    - `failed`: with an error, which would come again.
    - `killed`: by a signal or with its machine, so that it may go on.
    """

    kind: Literal["ended", "failed", "killed"]
    reason: str = ""


def start(command: Command, variables: Mapping[str, str] | None = None) -> subprocess.Popen:
    """Start a run. It is killed when the thread that called this function ends.

    Raises:
        UserError: the disk refuses the log.
    """
    arguments = [*command.arguments, "--logdir", str(command.logdir)]
    # Threads must not spin while they wait for each other, because several runs share the cores.
    own = {"OMP_NUM_THREADS": str(command.threads), "OMP_WAIT_POLICY": "passive"}
    with writing(command.log), command.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", child.__file__, str(os.getpid()), str(command.logdir / LOCK), *arguments],
            cwd=command.folder if command.folder.is_dir() else None,
            env=os.environ | own | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # The sweep handles Ctrl-C, and asks every run once. A second signal would end a run at once.
            start_new_session=True,
        )


def exit_of(returncode: int, log: Path) -> Exit:
    """Interpret the status of an ended process. The reason for a failure is the last line of its log."""
    if returncode == 0 or returncode - 128 in SIGNALS:
        return Exit("ended")
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return Exit(
            "killed", f"killed by {name}{' (perhaps because memory ran out)' if name == 'SIGKILL' else ''}"
        )
    if shutil.disk_usage(log.parent).free < 2**20:
        return Exit("failed", f"the disk of {log.parent} is full: make room")
    return Exit("failed", _last_line(log) or f"exit status {returncode}, see {log}")


def _last_line(log: Path) -> str:
    """Return the last line that is not empty, without the name of the program."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip().removeprefix("dreamer: ") for line in reversed(lines) if line.strip()), "")
