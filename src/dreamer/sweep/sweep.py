"""The options of `dreamer sweep`, and the loop that starts runs and handles their ends."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal, Protocol

import tyro

from dreamer.arguments import read
from dreamer.config import WITHOUT_EFFECT
from dreamer.errors import UserError
from dreamer.ray_cluster import with_address
from dreamer.sweep.cluster import RayPool, connect
from dreamer.sweep.display import Display
from dreamer.sweep.local import LocalPool
from dreamer.sweep.plan import Plan, PlannedRun, make_plan, sweep_directory
from dreamer.sweep.process import Command, Exit
from dreamer.sweep.share import Share, share, this_machine
from dreamer.sweep.status import Status
from dreamer.sweep.tasks import environments
from dreamer.training.signals import Interrupt

MOST_KILLS = 3
"""A run that is killed this often without getting further counts as failed."""
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Sweep:
    """Run tasks x variants x seeds, as many at once as the machine or a Ray cluster has room for.

    Every run is a `dreamer train` with a directory OUT/TASK-VARIANT-SEED and a log beside it; all options of
    `dreamer train` but --env and --logdir may be given too, and hold for all runs. Ctrl-C stops all runs with
    their checkpoints; the same command goes on, and repeats nothing that is done. It ends with status 1 if a
    run has failed, and 128 + the number of the signal if it was stopped: 130 after Ctrl-C.

    Examples: `dreamer sweep --tasks all --preset laptop --out runs/laptop`, `dreamer sweep --tasks
    walker_walk,cheetah_run --seeds 3 --sweep agent=dreamer,planet --preset paper --out runs/agents --ray
    10.0.0.1:6379 --gpus-per-run 0.25`.
    """

    tasks: str
    """Tasks separated by commas (`walker_walk,atari:pong`), or a file with one per line; `all` stands for the
    paper's 20 of the Control Suite, `atari` for its 14 games."""
    preset: Literal["paper", "laptop", "atari", "debug"]
    """Starting point of all options."""
    out: Path
    """Directory of the sweep; with --ray on several nodes, on a path that all of them share."""
    seeds: int = 5
    """Runs of each task and variant; their seeds count up from --seed (0)."""
    sweep: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An option and its values, `agent=dreamer,planet`; given several times, all combinations are run."""
    jobs: int = 0
    """Most runs at once; 0 for as many as cores and GPUs allow."""
    cpus_per_run: int = 0
    """Cores of each run, and its --threads; 0 for one, or with GPUs for an equal part of all cores."""
    gpus_per_run: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Part of a GPU for each run: 0.25 lets four share one. Without: 1 if there are GPUs."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Let Ray distribute the runs: on this machine (`local`, or --ray alone), or on the cluster at this
    address."""


class Pool(Protocol):
    """Interface of `LocalPool` and `RayPool`, which run processes."""

    jobs: int

    @property
    def active(self) -> set[str]: ...
    def start(self, command: Command) -> None: ...
    def begun(self, name: str) -> bool: ...
    def exits(self) -> dict[str, Exit]: ...
    def ask_to_stop(self) -> None: ...
    def close(self) -> None: ...


def main(arguments: Sequence[str]) -> int:
    """Run `dreamer sweep` with these arguments and return its exit status."""
    options, training = read(Sweep, with_address(arguments), "dreamer sweep", return_unknown_args=True)
    return run_sweep(options, training)


def run_sweep(options: Sweep, training: Sequence[str] = ()) -> int:
    """Run a sweep to its end and return its exit status. `training` are options of `dreamer train`.

    Raises:
        UserError: something is wrong with the options, the directory or the cluster. Nothing has been run.
    """
    tasks = environments(options.tasks)
    plan = make_plan(options.preset, tasks, options.seeds, options.sweep, training)
    directory = options.out.absolute()
    each, pool = _share_and_pool(options, plan)
    with closing(pool), sweep_directory(directory, plan):
        statuses = [_status(directory / run.name, plan.config(run).training.steps) for run in plan.runs]
        commands = {run.name: _command(directory, plan, run, each) for run in plan.runs}
        with Interrupt() as interrupt, Display(statuses) as display:
            display.message(_beginning(statuses, directory, each))
            work(statuses, commands, pool, display, interrupt)
        display.message(_ending(statuses, directory))
    return _exit_status(statuses, interrupt.status)


def work(
    statuses: Sequence[Status],
    commands: Mapping[str, Command],
    pool: Pool,
    display: Display,
    interrupt: Interrupt,
) -> None:
    """Start waiting runs and handle ended ones, until none is left or the sweep is asked to stop."""
    by_name = {status.name: status for status in statuses}
    stopping = False
    while True:
        for name, end in pool.exits().items():
            _settle(by_name[name], end, stopping)
            display.changed(by_name[name])
        if not stopping and interrupt.requested:
            stopping = True
            pool.ask_to_stop()
        if not stopping:
            _start_what_fits(statuses, commands, pool, display)
        if not pool.active and (stopping or not any(status.state == "waiting" for status in statuses)):
            return
        for status in map(by_name.__getitem__, pool.active):
            _look_at(status, pool, display)
        display.update()
        time.sleep(POLL_SECONDS)


def _start_what_fits(
    statuses: Sequence[Status], commands: Mapping[str, Command], pool: Pool, display: Display
) -> None:
    """Start as many waiting runs as fit. A run whose log cannot be written has failed; the others go on."""
    waiting = [status for status in statuses if status.state == "waiting" and status.name not in pool.active]
    for status in waiting[: max(0, pool.jobs - len(pool.active))]:
        try:
            pool.start(commands[status.name])
        except UserError as error:
            status.state, status.reason = "failed", str(error)
            display.changed(status)


def _look_at(status: Status, pool: Pool, display: Display) -> None:
    """Bring the status of an active run up to date."""
    status.read()
    if status.state == "waiting" and pool.begun(status.name):
        status.state = "running"
        display.changed(status)


def _settle(status: Status, end: Exit, stopping: bool) -> None:
    """Set the state of a run whose process has ended."""
    status.read()
    status.state, status.reason = "failed", end.reason
    if end.kind == "ended" and status.complete:
        status.state = "done"
    elif stopping and end.kind != "failed":
        status.state, status.reason = "stopped", ""
    elif end.kind == "ended":
        status.reason = "stopped before its end, but not by the sweep"
    elif end.kind == "killed" and status.count_kill() < MOST_KILLS:
        status.state = "waiting"


def _status(logdir: Path, steps: int) -> Status:
    """Return the state of a run before the sweep begins or goes on: `done` or `waiting`."""
    status = Status(logdir, steps)
    status.read()
    status.state = "done" if status.complete else "waiting"
    return status


def _command(directory: Path, plan: Plan, run: PlannedRun, each: Share) -> Command:
    config = plan.config(run)
    threads = config.training.threads or each.cpus
    read = "threads" not in WITHOUT_EFFECT.get(config.behavior.agent, ())
    own = ("--threads", str(threads)) if read else ()
    return Command(("--preset", plan.preset, *run.arguments, *own), directory / run.name, threads, Path.cwd())


def _share_and_pool(options: Sweep, plan: Plan) -> tuple[Share, Pool]:
    """Return the share of each run, and the pool that runs them."""
    schedule = plan.config(plan.runs[0]).training
    gpus = 0.0 if schedule.device == "cpu" else options.gpus_per_run
    numbers = options.jobs, options.cpus_per_run, gpus, schedule.threads
    if options.ray is None:
        machine = this_machine()
        each = share([machine], *numbers)
        return each, LocalPool(each, machine.gpus)
    each = share(connect(options.ray), *numbers)
    return each, RayPool(each, options.jobs)


def _beginning(statuses: Sequence[Status], directory: Path, each: Share) -> str:
    done = sum(status.state == "done" for status in statuses)
    gpu = f" and {each.gpus:g} GPU" if each.gpus else ""
    return (
        f"{done} of {len(statuses)} runs done in {directory}; up to {each.jobs} at once, each with"
        f" {each.cpus} core{'s' * (each.cpus > 1)}{gpu}."
    )


def _ending(statuses: Sequence[Status], directory: Path) -> str:
    """Return the lines that tell how the sweep ended."""
    done = sum(status.state == "done" for status in statuses)
    failed = [f"{status.name} failed: {status.reason}" for status in statuses if status.state == "failed"]
    rest = " The same command goes on with the others." if done < len(statuses) else ""
    report = f"\n`dreamer report {quote(str(directory))} --out report` makes a page of them." if done else ""
    return "\n".join([*failed, f"{done} of {len(statuses)} runs done in {directory}.{rest}{report}"])


def _exit_status(statuses: Sequence[Status], stopped: int) -> int:
    states = {status.state for status in statuses}
    return 1 if "failed" in states else 0 if states == {"done"} else stopped
