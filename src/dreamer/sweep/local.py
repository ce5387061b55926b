"""Start runs as processes of this machine."""

import os
import subprocess

from dreamer.sweep.process import Command, Exit, exit_of, start
from dreamer.sweep.share import Share


class LocalPool:
    """Run processes on this machine. They are killed when the thread that started them ends.

    If runs have a share of a GPU, each process sees only the GPU that the fewest others use.
    """

    def __init__(self, share: Share, gpus: int) -> None:
        self.jobs = share.jobs
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(index) for index in range(gpus)]
        self._gpus = names[:gpus] if share.gpus else []
        self._processes: dict[str, tuple[subprocess.Popen, Command, str]] = {}

    @property
    def active(self) -> set[str]:
        """Names of the runs that have been started and whose `exits` have not been taken."""
        return set(self._processes)

    def start(self, command: Command) -> None:
        """Start a run."""
        taken = [gpu for _, _, gpu in self._processes.values()]
        gpu = min(self._gpus, key=taken.count, default="")
        process = start(command, {"CUDA_VISIBLE_DEVICES": gpu} if gpu else None)
        self._processes[command.logdir.name] = process, command, gpu

    def begun(self, name: str) -> bool:
        """Whether an active run has a process."""
        return name in self._processes

    def exits(self) -> dict[str, Exit]:
        """Return the runs that have ended since the last call, and how."""
        ended = {
            name: exit_of(process.returncode, command.log)
            for name, (process, command, _) in self._processes.items()
            if process.poll() is not None
        }
        for name in ended:
            del self._processes[name]
        return ended

    def ask_to_stop(self) -> None:
        """Ask all runs to save a checkpoint and end."""
        for process, _, _ in self._processes.values():
            process.terminate()

    def close(self) -> None:
        """Kill the runs that are left."""
        for process, _, _ in self._processes.values():
            process.kill()
            process.wait()
