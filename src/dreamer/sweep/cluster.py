"""Start runs as tasks of Ray, on this machine or on the nodes of a cluster.

Each task starts the same process as `LocalPool` does, and waits for it. All nodes need this program, and the sweep
directory under the same path: a run whose node fails goes on elsewhere from its checkpoint.
"""

import socket
import subprocess
from typing import Any

from dreamer.ray_cluster import join, load_ray
from dreamer.sweep import plan
from dreamer.sweep.process import Command, Exit, exit_of, start
from dreamer.sweep.share import Machine, Share


def connect(address: str) -> list[Machine]:
    """Join the cluster at `address`, or start one on this machine, and return its nodes.

    Raises:
        UserError: Ray is not installed, or nothing answers at the address.
    """
    ray = join(address)
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Machine(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in resources]


class RayPool:
    """Run tasks of Ray, which queues those that do not fit at once. Call `connect` first."""

    def __init__(self, share: Share, jobs: int = 0) -> None:
        ray = load_ray()
        self.jobs = jobs or 10**6  # Ray decides what fits, also when nodes come and go.
        # The sweep itself starts failed runs again, and counts how often.
        task = ray.remote(max_retries=0, num_cpus=share.cpus, num_gpus=share.gpus)(supervise)
        self._submit = task.remote
        self._tasks: dict[str, tuple[Any, Command, int]] = {}

    @property
    def active(self) -> set[str]:
        """Names of the runs that have been submitted and whose `exits` have not been taken."""
        return set(self._tasks)

    def start(self, command: Command) -> None:
        """Submit a run."""
        self._tasks[command.logdir.name] = self._submit(command), command, _size(command)

    def begun(self, name: str) -> bool:
        """Whether an active run has a process. The process writes to its log first."""
        _, command, size = self._tasks[name]
        return _size(command) > size

    def exits(self) -> dict[str, Exit]:
        """Return the runs that have ended since the last call, and how."""
        ray = load_ray()
        references = {task: name for name, (task, _, _) in self._tasks.items()}
        ended, _ = (
            ray.wait(list(references), num_returns=len(references), timeout=0) if references else ([], [])
        )
        exits = {references[task]: _exit(task) for task in ended}
        for name in exits:
            del self._tasks[name]
        return exits

    def ask_to_stop(self) -> None:
        """Ask all runs to save a checkpoint and end. Runs that have not started are cancelled."""
        self._cancel(force=False)

    def close(self) -> None:
        """Kill the runs that are left, and leave the cluster."""
        ray = load_ray()
        self._cancel(force=True)
        ray.shutdown()

    def _cancel(self, force: bool) -> None:
        ray = load_ray()
        for task, _, _ in self._tasks.values():
            ray.cancel(task, force=force)


def supervise(command: Command) -> Exit:
    """Start a run on this node and wait for its end. `ray.cancel` asks it to save a checkpoint and end.

    Call this in the main thread of the worker: the run is killed when that thread ends.
    """
    directory = command.logdir.parent
    if not (directory / plan.FILE).exists():
        return Exit(
            "failed",
            f"{socket.gethostname()} does not see {directory}: put --out on a path that all nodes share",
        )
    process = start(command)
    try:
        while True:
            try:
                return exit_of(process.wait(timeout=1), command.log)
            except subprocess.TimeoutExpired:
                continue
    except KeyboardInterrupt:
        process.terminate()
        return exit_of(process.wait(), command.log)


def _size(command: Command) -> int:
    return command.log.stat().st_size if command.log.exists() else 0


def _exit(task: Any) -> Exit:
    ray = load_ray()
    try:
        return ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return Exit("ended")
    except ray.exceptions.RayTaskError as error:  # The task itself raised.
        return Exit("failed", str(error.cause).strip().splitlines()[0])
    except ray.exceptions.RayError as error:
        return Exit("killed", f"its worker or node failed ({type(error).__name__})")
