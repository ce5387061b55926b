"""Step several environments together, one in this process or any number in worker processes."""

import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs.failures import EnvError
from dreamer.envs.make import make_env
from dreamer.envs.spec import EnvSpec, spec_of
from dreamer.envs.worker import StepResult, Worker, answer
from dreamer.errors import UserError
from dreamer.own_code import file_outside_packages


class VectorEnv:
    """`num_envs` environments that are stepped together and reset one by one; environment i has the seed `seed + i`.

    Several environments, or a single one with `workers`, run in processes of their own. `spec` describes each
    of them.

    An environment that has failed is made anew at its next reset, and the others do not notice. It fails
    (`EnvError`) if it raises, if it returns what cannot be used, or if its process dies or is silent for
    `config.worker_timeout` seconds.

    Raises:
        UserError: an environment cannot be made; see `make_env`.
    """

    def __init__(self, config: EnvConfig, num_envs: int = 1, seed: int = 0, workers: bool = False) -> None:
        if num_envs < 1:
            raise UserError(f"--num-envs is {num_envs}: it must be at least 1.")
        self.config = config
        self._seed, self._number, self._timeout = seed, num_envs, config.worker_timeout
        self._failed: set[int] = set()
        self._killed = False
        self._workers: list[Worker] = []
        self._env = make_env(config, seed) if num_envs == 1 and not workers else None
        if self._env is not None:
            self.spec: EnvSpec = spec_of(self._env)
            return
        try:
            for index in range(num_envs):
                self._workers.append(self._worker(index))
            specs = [_sound(spec) for spec in self._collect(self._workers)]
            self.spec = specs[0]
            for spec in specs:
                self.require_same(spec)
        except BaseException:
            self.close()
            raise

    def _worker(self, index: int) -> Worker:
        several = f", {self._number} in parallel" if self._number > 1 else ""
        return Worker(self.config, self._seed + index, f"{index} ({self.config.env}{several})")

    @property
    def file(self) -> Path | None:
        """File of the code of a single environment in this process, if it is in no installed package."""
        return file_outside_packages(type(self._env.unwrapped).__module__) if self._env is not None else None

    def reset(self, index: int, seed: int) -> dict[str, np.ndarray]:
        """Begin a new episode in one environment and return its first observation. Raises `EnvError`."""
        if index in self._failed:
            self._make_anew(index)
        return _sound(self._ask([index], "reset", [seed])[0])

    def step(self, actions: np.ndarray) -> list[StepResult | EnvError]:
        """Take one agent step in every environment; `actions` is `(num_envs, A)` float32 in [-1, 1].

        An environment whose last result was terminated, truncated or a failure must be reset first.
        """
        return self._ask(range(self._number), "step", actions)

    def step_one(self, index: int, action: np.ndarray) -> StepResult:
        """Take one agent step in one environment; `action` is `(A,)`. Raises `EnvError`."""
        return _sound(self._ask([index], "step", [action])[0])

    def kill(self) -> None:
        """Kill all worker processes, so that `close` does not wait for one that hangs.

        Another thread that waits for one of them gets a `RuntimeError`, so that it does not go on with others.
        """
        self._killed = True
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Stop every environment. It may be called more than once; a reset makes an environment anew."""
        if self._env is not None and 0 not in self._failed:
            self._env.close()
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.join()
        self._failed = set(range(self._number))

    def _make_anew(self, index: int) -> None:
        """Make the environment that has failed again. Raises `EnvError`; then it still counts as failed."""
        if self._env is not None:
            self._env = make_env(self.config, self._seed)
            spec = spec_of(self._env)
        else:
            self._workers[index] = self._worker(index)
            spec = self._collect([self._workers[index]])[0]
            if isinstance(spec, EnvError):
                self._fail(index)
                raise spec
        self.require_same(spec)
        self._failed.remove(index)

    def require_same(self, spec: EnvSpec) -> None:
        """Raise `EnvError` if these environments show or take something else than `spec` says."""
        if not spec.fits(self.spec):
            text = f"{self.config.env} shows or takes something else each time it is made: it must always be the same."
            raise EnvError(text, passing=False)

    def _ask(self, indices: Sequence[int], command: str, arguments: Sequence[Any] | np.ndarray) -> list[Any]:
        """Return what each of these environments answers, or its failure."""
        if self._env is not None:
            answers = [_answer_here(self._env, command, arguments[0])]
        else:
            workers = [self._workers[index] for index in indices]
            for worker, argument in zip(workers, arguments, strict=True):
                worker.send(command, argument)
            answers = self._collect(workers)
        if self._killed:
            raise RuntimeError("The environments were killed.")
        for index, given in zip(indices, answers, strict=True):
            if isinstance(given, EnvError):
                self._fail(index)
        return answers

    def _fail(self, index: int) -> None:
        """Close what has failed, so that it binds nothing that its successor needs."""
        self._failed.add(index)
        if self._env is not None:
            self._env.close()
        else:
            self._workers[index].hang_up()
            self._workers[index].join()

    def _collect(self, workers: list[Worker]) -> list[Any]:
        """Receive one answer from each worker, whichever comes first, so that a dead one is noticed at once."""
        waiting = {worker.connection: index for index, worker in enumerate(workers)}
        answers: list[Any] = [None] * len(workers)
        deadline = time.monotonic() + self._timeout
        while waiting:
            ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                for index in waiting.values():
                    answers[index] = workers[index].hung(self._timeout)
                return answers
            for connection in ready:
                index = waiting.pop(connection)  # pyright: ignore[reportArgumentType]
                answers[index] = workers[index].receive()
        return answers


def _answer_here(env: gym.Env, command: str, argument: Any) -> Any:
    """Return what an environment in this process answers, or its failure."""
    try:
        return answer(env, command, argument)
    except EnvError as failure:
        return failure


def _sound(given: Any) -> Any:
    """Return the answer of an environment. Raises `EnvError` if it is one."""
    if isinstance(given, EnvError):
        raise given
    return given
