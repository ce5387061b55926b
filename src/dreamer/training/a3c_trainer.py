"""The run of A3C: worker processes that act and learn, and this process, which watches, evaluates and saves.

Workers go on up to a limit, a number of frames of all together, and wait there. So at the limit nothing changes:
then the weights are copied to be evaluated, or all is saved; then the limit is raised, and evaluation takes place
while the workers go on. A single worker does the same whenever it is run with the same seed.

A worker that was killed, or whose environment has failed or hangs, is replaced. Any other failure ends the run with its
cause.
"""

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, multiprocessing

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.baselines.a3c import A3C, Worker
from dreamer.baselines.options import A3CConfig
from dreamer.config import Config, evaluated
from dreamer.envs.failures import EnvError
from dreamer.envs.make import make_env
from dreamer.envs.vector import VectorEnv
from dreamer.envs.worker import register, registration_of
from dreamer.errors import UserError
from dreamer.logs.logger import Logger
from dreamer.logs.metrics import Mean
from dreamer.logs.wandb_board import check_installed
from dreamer.own_code import refuse_code_of_runs
from dreamer.parent import end_with
from dreamer.storage import checkpoint
from dreamer.storage.run_directory import RunDirectory
from dreamer.training.clock import Counters, Every
from dreamer.training.evaluate import StoppedError, evaluate
from dreamer.training.failures import survive
from dreamer.training.signals import SIGNALS, Interrupt
from dreamer.training.skipped import SkippedUpdates
from dreamer.types import EnvSpec

PAUSE = 0.001
"""Seconds between two looks of a waiting worker at the limit."""
WATCH = 0.1
"""Seconds between two looks of this process at its workers, if none has anything to say."""
START = 600.0
"""Seconds that a worker has at least for its first update: many workers may load PyTorch at once, on few cores."""
SAFE_PATH = "PYTHONSAFEPATH"
"""Variable that keeps the current folder out of the modules that Python finds."""
_logger = logging.getLogger(__name__)


class Board:
    """What workers and this process tell each other, in shared memory; each number is written by one of them."""

    def __init__(self, workers: int):
        self.counts = torch.zeros(3, workers, dtype=torch.int64).share_memory_()
        """Frames, agent steps and updates that each worker has taken."""
        self.waiting = torch.full((workers,), -1, dtype=torch.int64).share_memory_()
        """The number of the limit at which each worker waits."""
        self.limit = torch.zeros(2, dtype=torch.int64).share_memory_()
        """The limit in frames, and how often it was set."""
        self.base = torch.zeros(3, dtype=torch.int64).share_memory_()
        """Counts of earlier workers, and of before the run was resumed."""

    def total(self) -> Tensor:
        """Return frames, agent steps and updates of the run, `(3,)`."""
        return self.base + self.counts.sum(1)

    def set_limit(self, frames: int) -> None:
        """Let workers go on up to so many frames."""
        self.limit[0] = frames
        self.limit[1] += 1  # after the limit itself: whoever reads the new number reads the new limit

    def all_wait(self) -> bool:
        """Whether every worker waits at the present limit."""
        return bool((self.waiting == self.limit[1]).all())


class Message(NamedTuple):
    """What a worker reports when an episode has ended: the run's counts, the episode, and means of metrics."""

    counts: list[int]
    total_return: float
    length: int
    metrics: dict[str, float]


class Failure(NamedTuple):
    """What ended a worker: what the user is told, unless the program is at fault, and the traceback."""

    error: UserError | None
    trace: str


@contextlib.contextmanager
def _without_the_script() -> Iterator[None]:
    """Let the processes that begin meanwhile not import the running script, nor anything from the current folder.

    So a script needs no `if __name__ == "__main__"`, and no module of the user, or of a run, stands in for one of
    Python's. From the first line of `work` on they find what this process finds.
    """
    script, own = sys.modules["__main__"], os.environ.get(SAFE_PATH)
    sys.modules["__main__"], os.environ[SAFE_PATH] = ModuleType("__main__"), "1"
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        del os.environ[SAFE_PATH]
        os.environ.update({} if own is None else {SAFE_PATH: own})


def work(
    parent: int,
    number: int,
    seed: int,
    shared: A3C,
    registration: bytes | None,
    board: Board,
    connection: Connection,
) -> None:
    """Be worker `number` until the parent hangs up. A process of its own runs this."""
    end_with(parent)
    refuse_code_of_runs()
    # A terminal or a scheduler sends these to all processes of a run. The parent handles them.
    for asks_to_stop in SIGNALS:
        signal.signal(asks_to_stop, lambda *_: None)
    torch.set_num_threads(1)
    try:
        register(shared.config.environment.env, registration)
        worker = Worker(shared, make_env(shared.config.environment, seed), seed)
        means, skipped_updates = Mean(), SkippedUpdates()
        while not connection.poll(PAUSE if _waits(board, number) else 0):
            if _waits(board, number):
                continue
            done = worker.round(int(board.total()[0]))
            board.counts[:, number] += torch.tensor([done.frames, done.agent_steps, 1])
            skipped = done.metrics.pop("skipped")
            means.add({"model/skipped_updates": skipped})
            means.add(done.metrics, skipped)
            skipped_updates.add(skipped, done.metrics, int(board.counts[2, number]))
            if done.finished is not None:
                connection.send(Message(board.total().tolist(), *done.finished, means.pop()))
    except UserError as error:
        connection.send(Failure(error, traceback.format_exc()))
    except Exception:
        connection.send(Failure(None, traceback.format_exc()))


def _waits(board: Board, number: int) -> bool:
    """Note and return whether the limit is reached."""
    # This is read first: if the limit is raised meanwhile, the worker waits at the old one.
    setting = int(board.limit[1])
    if board.total()[0] < board.limit[0]:
        return False
    board.waiting[number] = setting
    return True


class A3CTrainer:
    """One run: it makes its parts, goes on from the checkpoint if the directory has one, and trains."""

    def __init__(
        self, config: Config, logdir: Path, make_agent: Callable[[EnvSpec, Config], Agent] = make_agent
    ):
        assert isinstance(config.baseline, A3CConfig)
        self.config, self.schedule, self.workers = config, config.training, config.workers
        self.run_directory = RunDirectory(logdir.absolute())  # an environment may leave the current folder
        self.run_directory.check(config)
        self.registration = registration_of(config.environment.env)  # of an environment, for the workers
        check_installed(self.schedule.logger)
        if self.schedule.steps > config.baseline.anneal:
            message = (
                "From %s frames on (--anneal) the learning rate is 0: nothing is learned up to --steps %s."
            )
            _logger.warning(message, f"{config.baseline.anneal:,}", f"{self.schedule.steps:,}")
        torch.set_num_threads(1)
        self.interrupt = Interrupt()
        self.counters = Counters()
        self.evaluation_clock = Every(self.schedule.eval_every)
        self.checkpoint_clock = Every(self.schedule.checkpoint_every)
        self.starts = 0  # of workers: each has random numbers of its own
        self.failures_in_a_row = [0] * self.workers  # of each worker's environment
        self.alive = [(0, 0.0)] * self.workers  # updates of each worker, and when that number last changed
        self.reported = [0, 0, 0]  # the counts of the last episode
        with contextlib.ExitStack() as opened:  # it closes what was opened if anything after it is refused
            self.envs = opened.enter_context(
                contextlib.closing(VectorEnv(evaluated(config.environment), 1, self.schedule.seed))
            )
            self.agent = make_agent(self.envs.spec, config)
            self.evaluated = make_agent(self.envs.spec, config)  # has the weights of the last limit
            assert isinstance(self.agent.algorithm, A3C)
            self.shared = self.agent.algorithm
            self.shared.optimizers.share_memory()
            self.board = Board(self.workers)
            opened.callback(self.run_directory.unlock)
            saved = self.run_directory.open(config, self.agent.device)
            self.logger = Logger(self.run_directory.path, self.counters, self.schedule.steps, config=config)
            self.resumed = saved is not None
            if saved is not None:
                with checkpoint.restoring(self.run_directory.checkpoints, saved, config):
                    checkpoint.check_agent(saved, self.agent)
                    self.load_state_dict(saved)
            else:
                self.logger.start_anew()
            self.processes: list[BaseProcess] = []
            self.connections: list[Connection] = []
            opened.callback(self._stop_workers)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Stop the workers, unlock the run directory, and close the environment of the evaluation."""
        self._opened.close()

    # -- training ----------------------------------------------------------------------------------------

    def run(self, final_evaluation: bool = True) -> bool:
        """Train to the end, and save. Return False if the run was asked to stop before.

        Raises `EnvError`, when all is saved, if an environment failed too often in a row.
        """
        self.counters.start()
        with self.interrupt, self.logger:
            try:
                if self.counters.env_step < self.schedule.steps:
                    self._train()
                self._save()
                if final_evaluation and not self._stop:
                    self._evaluate_finally()
            except EnvError:
                self._halt()
                self._save()
                raise
        return self.counters.finished_at == self.counters.env_step

    def _train(self) -> None:
        self.board.set_limit(self._next_limit())
        for number in range(self.workers):
            self._begin(number)
        while True:
            self._watch_until_all_wait()
            evaluates = self.evaluation_clock.due(self.counters.env_step)
            if self.checkpoint_clock.due(self.counters.env_step) and not self._stop:
                self._save()
            if self._stop or self.counters.env_step >= self.schedule.steps:
                return
            self.board.set_limit(self._next_limit())
            if evaluates:
                self._evaluate(self.schedule.eval_episodes)

    def _next_limit(self) -> int:
        """Return the frames at which something is due next: an evaluation, a checkpoint, the end."""
        env_step = self.counters.env_step
        periods = [self.checkpoint_clock.period, self.evaluation_clock.period]
        return min([self.schedule.steps, *((env_step // p + 1) * p for p in periods if p)])

    @property
    def _stop(self) -> bool:
        return self.interrupt.requested

    def _watch_until_all_wait(self) -> None:
        """Log what workers report, and replace those that die, until all wait at the limit; copy their weights."""
        while not self.board.all_wait():
            if self._stop:
                self._end_rollouts()
            for connection in wait([x for x in self.connections if not x.closed], WATCH):
                self._receive(self.connections.index(connection))  # pyright: ignore[reportArgumentType]
            self._replace_silent()
            self._count(self.board.total().tolist())
            self.logger.show()
        for number, connection in enumerate(self.connections):
            while not connection.closed and connection.poll():
                self._receive(number)
        self._count(self.board.total().tolist())
        self.evaluated.algorithm.load_state_dict(self.shared.state_dict())

    def _halt(self) -> None:
        """Let the workers that live finish their rollouts, so that nothing changes any more."""
        self._end_rollouts()
        end = time.monotonic() + self.config.environment.worker_timeout
        while time.monotonic() < end and any(map(self._acts, range(len(self.processes)))):
            time.sleep(PAUSE)
        self._count(self.board.total().tolist())

    def _end_rollouts(self) -> None:
        """Set a limit that all have reached, the last one."""
        if self.board.limit[0]:
            self.board.set_limit(0)

    def _acts(self, number: int) -> bool:
        return self.processes[number].is_alive() and bool(self.board.waiting[number] != self.board.limit[1])

    def _receive(self, number: int) -> None:
        try:
            message = self.connections[number].recv()
        except (EOFError, OSError):
            self._replace(number)
            return
        if isinstance(message, Failure):
            if message.error is None:
                raise RuntimeError(f"Worker {number} failed:\n{message.trace}")
            if not isinstance(message.error, EnvError):
                raise message.error
            self._survive(number, message.error)
            return
        self.failures_in_a_row[number] = 0
        # Of two workers, the one that reports later may have counted earlier; the record goes forward.
        self.reported = [max(pair) for pair in zip(self.reported, message.counts, strict=True)]
        self._count(self.reported)
        self.counters.episodes += 1
        self.logger.episode(message.total_return, message.length)
        self.logger.scalars(message.metrics)

    def _count(self, counts: list[int]) -> None:
        self.counters.env_step, self.counters.agent_step, self.counters.grad_step = counts

    # -- workers -----------------------------------------------------------------------------------------

    def _begin(self, number: int) -> None:
        """Start worker `number`, or its successor."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        seed = int(np.random.SeedSequence((self.schedule.seed, 3, self.starts)).generate_state(1)[0])
        self.starts += 1
        arguments = (os.getpid(), number, seed, self.shared, self.registration, self.board, theirs)
        process = context.Process(target=work, args=arguments, daemon=True)
        with _without_the_script():
            process.start()
        theirs.close()  # so that the end of the worker is the end of the connection
        self.alive[number] = 0, time.monotonic()
        self.processes[number : number + 1] = [process]
        self.connections[number : number + 1] = [ours]

    def _replace_silent(self) -> None:
        """Replace workers that have neither taken an update nor waited for `--worker-timeout` seconds."""
        timeout, now = self.config.environment.worker_timeout, time.monotonic()
        for number, updates in enumerate(self.board.counts[2].tolist()):
            waits = self.board.waiting[number] == self.board.limit[1]
            if waits or updates != self.alive[number][0]:
                self.alive[number] = updates, now
            elif now - self.alive[number][1] > (timeout if updates else max(timeout, START)):
                self.processes[number].kill()
                text = (
                    f"Worker {number} has taken no update for {timeout:g} s and was stopped: its environment"
                )
                self._survive(number, EnvError(f"{text} hangs, or needs longer (--worker-timeout)."))

    def _survive(self, number: int, failure: EnvError) -> None:
        """Begin a worker in place of one whose environment has failed, unless there are too many in a row."""
        self._count_env_failure()
        self.failures_in_a_row[number] += 1
        survive(failure, self.failures_in_a_row[number], self.config.environment.env_failures)
        self.processes[number].join()
        self._begin_again(number)

    def _count_env_failure(self) -> None:
        self.counters.env_failures += 1
        self.logger.env_failure(self.counters.env_failures)

    def _replace(self, number: int) -> None:
        """Begin a worker in place of one that was killed; if it has done nothing before, so would the next."""
        process = self.processes[number]
        process.join()
        if not self._stop and not self.board.counts[2, number]:
            raise EnvError(
                f"Worker {number} died before its first update (exit status {process.exitcode}): is there enough"
                " memory? Try fewer --workers."
            )
        if not self._stop:
            text = "Worker %d died (exit status %s): another takes its place."
            _logger.warning(text, number, process.exitcode)
        self._begin_again(number)

    def _begin_again(self, number: int) -> None:
        """Keep the counts of a worker that has ended, and start its successor, unless the run was asked to stop."""
        done = self.board.counts[:, number].clone()
        self.board.counts[:, number] = 0  # first, so that nobody ever sees too large a total and waits
        self.board.base += done
        self.board.waiting[number] = -1
        self.connections[number].close()
        if not self._stop:
            self._begin(number)
            return
        self._end_rollouts()
        self.board.waiting[number] = self.board.limit[1]

    def _stop_workers(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.send("stop")
        for process in self.processes:
            process.join(0 if self.interrupt.at_once else 5)
            process.kill()
            process.join()

    # -- evaluation --------------------------------------------------------------------------------------

    def _evaluate_finally(self) -> None:
        """Evaluate at the end, once, and save."""
        env_step = self.counters.env_step
        if self.counters.finished_at != env_step and self._evaluate(self.schedule.final_episodes):
            self.counters.finished_at = env_step
            self._save()

    def _evaluate(self, episodes: int) -> bool:
        """Evaluate the weights of the last limit. Return False if it was asked to stop."""
        # A failure changes the seed: a run that ended by it and goes on does not meet the same episode.
        seed = self.schedule.seed + 1_000_003 * (1 + self.counters.env_step) + self.counters.env_failures
        self.evaluation_clock.done(self.counters.env_step)
        try:
            stop, failed = lambda: self._stop, self._count_env_failure
            result = evaluate(self.evaluated, self.envs, episodes, seed, stop=stop, failed=failed)
        except StoppedError:
            return False
        self.logger.evaluation(result.returns, result.lengths)
        return True

    # -- saving ------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self.checkpoint_clock.done(self.counters.env_step)
        self.run_directory.save(self.state_dict())

    def _parts(self) -> dict[str, Any]:
        return {
            "counters": self.counters,
            "evaluation_clock": self.evaluation_clock,
            "checkpoint_clock": self.checkpoint_clock,
            "logger": self.logger,
            "agent": self.agent,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on; call it while all workers wait. Episodes in progress are lost."""
        self.shared.optimizers.grad_step = self.counters.grad_step
        state = {name: part.state_dict() for name, part in self._parts().items()}
        options, spec = checkpoint.kept_options(self.config), dataclasses.asdict(self.envs.spec)
        counts = {"env_step": self.counters.env_step, "starts": self.starts}
        return {"options": options, "spec": spec, **counts, **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, in new episodes; metrics of later are dropped."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.starts = state["starts"]
        counts = (self.counters.env_step, self.counters.agent_step, self.counters.grad_step)
        self.board.base.copy_(torch.tensor(counts))
        self.evaluated.algorithm.load_state_dict(self.shared.state_dict())
