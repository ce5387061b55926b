"""Step several environments together, one in this process or any number in worker processes."""

import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs.make import make_env
from dreamer.envs.spec import EnvSpec, spec_of
from dreamer.envs.worker import StepResult, Worker, WorkerError, take_step
from dreamer.errors import UserError
from dreamer.own_code import file_outside_packages


class VectorEnv:
    """`num_envs` environments that are stepped together and reset one by one; environment i has the seed `seed + i`.

    Several environments, or a single one with `workers`, run in processes of their own. `spec` describes each
    of them. Every method except `close` can raise:

    Raises:
        UserError: see `make_env`.
        WorkerError: a worker process raised, died, or was silent for `config.worker_timeout` seconds. All other
            workers have been stopped.
    """

    def __init__(self, config: EnvConfig, num_envs: int = 1, seed: int = 0, workers: bool = False) -> None:
        if num_envs < 1:
            raise UserError(f"--num-envs is {num_envs}: it must be at least 1.")
        self._timeout = config.worker_timeout
        self._workers: list[Worker] = []
        self._env = make_env(config, seed) if num_envs == 1 and not workers else None
        if self._env is not None:
            self.spec: EnvSpec = spec_of(self._env)
            return
        several = f", {num_envs} in parallel" if num_envs > 1 else ""
        try:
            for index in range(num_envs):
                self._workers.append(Worker(config, seed + index, f"{index} ({config.env}{several})"))
            self.spec = self._collect(self._workers)[0]
        except BaseException:
            self.close()
            raise

    @property
    def file(self) -> Path | None:
        """File of the code of a single environment in this process, if it is in no installed package."""
        return file_outside_packages(type(self._env.unwrapped).__module__) if self._env is not None else None

    def reset(self, index: int, seed: int) -> dict[str, np.ndarray]:
        """Begin a new episode in one environment and return its first observation."""
        if self._env is not None:
            return self._env.reset(seed=seed)[0]
        return self._ask([self._workers[index]], "reset", [seed])[0]

    def step(self, actions: np.ndarray) -> list[StepResult]:
        """Take one agent step in every environment; `actions` is `(num_envs, A)` float32 in [-1, 1].

        An environment whose last result was terminated or truncated must be reset first.
        """
        if self._env is not None:
            (action,) = actions
            return [take_step(self._env, action)]
        return self._ask(self._workers, "step", actions)

    def step_one(self, index: int, action: np.ndarray) -> StepResult:
        """Take one agent step in one environment; `action` is `(A,)`."""
        if self._env is not None:
            return take_step(self._env, action)
        return self._ask([self._workers[index]], "step", [action])[0]

    def kill(self) -> None:
        """Kill all worker processes, so that `close` does not wait for one that hangs. No other takes its place."""
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Stop every environment. It may be called more than once."""
        if self._env is not None:
            self._env.close()
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.join()
        self._workers = []

    def _ask(self, workers: list[Worker], command: str, arguments: Sequence[Any] | np.ndarray) -> list[Any]:
        try:
            for worker, argument in zip(workers, arguments, strict=True):
                worker.send(command, argument)
            return self._collect(workers)
        except WorkerError:
            self.close()
            raise

    def _collect(self, workers: list[Worker]) -> list[Any]:
        """Receive one answer from each worker, whichever comes first, so that a dead one is noticed at once."""
        waiting = {worker.connection: index for index, worker in enumerate(workers)}
        answers: list[Any] = [None] * len(workers)
        deadline = time.monotonic() + self._timeout
        while waiting:
            ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                raise workers[min(waiting.values())].hung(self._timeout)
            for connection in ready:
                index = waiting.pop(connection)  # pyright: ignore[reportArgumentType]
                answers[index] = workers[index].receive()
        return answers
