"""Decide how many runs there are at once, and how many cores and how much of a GPU each gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from dreamer.errors import UserError
from dreamer.machine import cores
from dreamer.presets import has_gpu


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs of this machine, or of a node of a cluster."""

    cpus: int
    gpus: int

    def fits(self, cpus: int, gpus: float) -> int:
        """Return how many runs with these shares fit at once."""
        return min(self.cpus // cpus, self.slots(gpus)) if gpus else self.cpus // cpus

    def slots(self, gpus: float) -> int:
        """Return how many runs fit on the GPUs, each with such a part of a single GPU."""
        return self.gpus * int(1 / gpus) if gpus else 0


@dataclass(frozen=True)
class Share:
    """Resources of each run, and how many runs there may be at once."""

    jobs: int
    cpus: int
    """Cores of a run, and threads of its learner."""
    gpus: float
    """Part of a GPU: 0.25 lets four runs share one."""


def share(
    machines: Sequence[Machine], jobs: int = 0, cpus: int = 0, gpus: float | None = None, threads: int = 0
) -> Share:
    """Return the share of each run. Values of 0 or None are replaced:

        gpus   one for each run if there are GPUs, else none
        cpus   `threads` if given; else an equal part of the cores if there are GPUs or `jobs` is given; else one
        jobs   as many as fit

    Raises:
        UserError: a number is out of its range, or no machine has enough for a run.
    """
    for option, value in (("--jobs", jobs), ("--cpus-per-run", cpus)):
        if value < 0:
            raise UserError(f"{option} must be at least 0, got {value}.")
    if gpus is not None and not 0 <= gpus <= 1:
        raise UserError(f"--gpus-per-run must lie between 0 and 1, got {gpus:g}: a run uses one GPU at most.")
    if gpus is None:
        gpus = 1.0 if any(machine.gpus for machine in machines) else 0.0
    cpus = cpus or threads or _equal_part(machines, jobs, gpus)
    fitting = sum(machine.fits(cpus, gpus) for machine in machines)
    if not fitting:
        needed = f"{cpus} core{'s' * (cpus > 1)}" + (f" and {gpus:g} GPU" if gpus else "")
        raise UserError(
            f"No machine here has {needed} for a run: choose other --cpus-per-run, --threads or --gpus-per-run."
        )
    return Share(jobs or fitting, cpus, gpus)


def _equal_part(machines: Sequence[Machine], jobs: int, gpus: float) -> int:
    if gpus:
        parts = [machine.cpus // machine.slots(gpus) for machine in machines if machine.gpus]
        return max(1, min(parts, default=1))
    return max(1, sum(machine.cpus for machine in machines) // jobs) if jobs else 1


def this_machine() -> Machine:
    """Return the cores that this process may use, and the GPUs that PyTorch sees."""
    if not has_gpu():
        return Machine(cores(), 0)
    import torch

    return Machine(cores(), torch.cuda.device_count())
