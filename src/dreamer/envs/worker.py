"""Run one environment in a process of its own: the parent uses `Worker`, the child runs `serve`.

The child is a program by itself, not a `multiprocessing.Process`. So it does not load the main program or torch,
needs no `if __name__ == "__main__"` in a user's script, and shares no OpenGL with its parent.
"""

import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import traceback
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs.failures import EnvError, calling
from dreamer.envs.make import make_env
from dreamer.envs.spec import spec_of
from dreamer.errors import UserError

_PROGRAM = """\
import json, sys
descriptor, parent, sys.path = map(json.loads, sys.argv[1:])
from dreamer.parent import end_with
end_with(parent)
from dreamer.own_code import refuse_code_of_runs
refuse_code_of_runs()
from dreamer.envs.worker import serve
serve(descriptor)
"""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_GOODBYE_SECONDS = 5


@dataclass(frozen=True)
class StepResult:
    """Result of one action in an environment."""

    observation: dict[str, np.ndarray]
    reward: float
    """Sum of the rewards of all frames of this agent step."""
    terminated: bool
    truncated: bool
    frames: int
    """Simulator frames of this agent step."""


@dataclass(frozen=True)
class Failure:
    """Last answer of a worker in which an exception was raised; see `EnvError`."""

    text: str
    passing: bool


class Worker:
    """Send commands to a child process, which is of no more use after its first failure.

    Messages call the environment `name`. The first answer is its `EnvSpec`.
    """

    def __init__(self, config: EnvConfig, seed: int, name: str) -> None:
        self._name = name
        self._doing = "start"
        self._timeout = config.worker_timeout
        registration = registration_of(config.env)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs.fileno())
        give_up_reading_after(self._timeout, ours)
        self.connection = Connection(ours.detach())
        self._transmit((config, seed, registration))

    def send(self, command: str, argument: Any) -> None:
        """Ask for `reset` (argument: the seed) or `step` (the action)."""
        self._doing = command
        self._transmit((command, argument))

    def _transmit(self, message: Any) -> None:
        with suppress(ConnectionError):  # `receive` says how the process died.
            self.connection.send(message)

    def receive(self) -> Any:
        """Return the next answer, waiting for it, or what went wrong as an `EnvError`."""
        try:
            answer = self.connection.recv()
        except BlockingIOError:  # The child stopped in the middle of an answer.
            return self.hung(self._timeout)
        except (EOFError, ConnectionError):
            return self._died()
        return self.interpreted(answer)

    def interpreted(self, answer: Any) -> Any:
        """Return the answer of an environment, with an `EnvError` in place of a `Failure`."""
        if isinstance(answer, Failure):
            text = f"Environment {self._name} failed in {self._doing}: {answer.text}"
            return EnvError(text, answer.passing)
        return answer

    def _died(self) -> EnvError:
        try:
            code = self._process.wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            return EnvError(f"Environment {self._name} closed its connection in {self._doing}.")
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            how += " (perhaps because memory ran out)" if -code == signal.SIGKILL else ""
        else:
            how = f"ended with exit code {code}"
        return EnvError(f"The process of environment {self._name} {how} in {self._doing}.")

    def hung(self, seconds: float) -> EnvError:
        """Kill the process, and return the error that says how long it was silent."""
        self.kill()
        return EnvError(
            f"Environment {self._name} was silent for {seconds:g} s in {self._doing} and was stopped; "
            "give it longer with --worker-timeout, or run it alone with --num-envs 1 --no-async-collect to"
            " see where it hangs."
        )

    def kill(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()

    def hang_up(self) -> None:
        """Close the connection, so that the process ends, and do not wait for it."""
        self.connection.close()

    def join(self) -> None:
        """Wait for the process to end, and kill it if it does not."""
        try:
            self._process.wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def give_up_reading_after(seconds: float, connected: socket.socket) -> None:
    """Let a read that waits for so long fail with `BlockingIOError`; the socket stays a blocking one."""
    whole, rest = divmod(seconds, 1)
    interval = struct.pack("ll", int(whole), int(1e6 * rest))  # a `timeval`: seconds, microseconds
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)


def _start(descriptor: int) -> subprocess.Popen:
    # Not by PYTHONPATH, from which Python imports a sitecustomize.py before anything can be refused.
    arguments = descriptor, os.getpid(), [entry or str(Path.cwd()) for entry in sys.path]
    return subprocess.Popen(
        # -P: the current folder keeps its place in the search path and does not come first.
        [sys.executable, "-P", "-X", "faulthandler", "-c", _PROGRAM, *map(json.dumps, arguments)],
        pass_fds=[descriptor],
        env=os.environ | _ONE_THREAD,
        stdin=subprocess.DEVNULL,
        stdout=2,  # What an environment prints must not mix with the results on stdout.
        # The parent handles Ctrl-C: it saves its work first and then closes the connection.
        start_new_session=True,
    )


def serve(descriptor: int) -> None:
    """Make an environment and answer commands, until the parent closes its end or something fails.

    The first message is `(config, seed, registration)`, each later one `(command, argument)`.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be inherited by programs that it starts
    with Connection(descriptor) as connection:
        try:
            config, seed, registration = connection.recv()
            register(config.env, registration)
            with closing(make_env(config, seed)) as env:
                connection.send(spec_of(env))
                while True:
                    connection.send(answer(env, *connection.recv()))
        except (EOFError, ConnectionError):
            return  # The parent closed its end or has died.
        except Exception as error:
            _report(connection, failure(error, "printed above"))


def failure(error: Exception, where: str) -> Failure:
    """Return what to tell of an exception. Print its traceback, to `where`, unless it is a `UserError`."""
    if isinstance(error, UserError):
        return Failure(str(error), getattr(error, "passing", False))
    traceback.print_exc()
    return Failure(f"{type(error).__name__}: {error} (its traceback is {where})", passing=False)


def registration_of(env: str) -> bytes | None:
    """Return what a new process needs to know `gym:<id>`, pickled; None if it knows it without.

    Raises:
        UserError: the environment is written in the running script, which no other process loads.
    """
    kind, _, name = env.partition(":")
    spec = gym.registry.get(name) if kind == "gym" else None
    if spec is None or str(spec.entry_point).startswith("gymnasium."):
        return None
    written_in = str(getattr(spec.entry_point, "__module__", spec.entry_point)).partition(":")[0]
    try:
        registration = pickle.dumps(spec)
    except (pickle.PicklingError, TypeError, AttributeError):  # a function within a function, an open file
        registration = None
    if registration is None or written_in == "__main__":
        raise UserError(
            f"{env} is registered in the running script, which worker processes do not load: register it in a "
            f"module and name it gym:MODULE:{name}, or take --num-envs 1 --no-async-collect without --agent a3c."
        )
    return registration


def register(env: str, registration: bytes | None) -> None:
    """Register in this process what the parent has registered."""
    if registration is not None:
        with calling(env, "make"):
            spec = pickle.loads(registration)
            gym.registry[spec.id] = spec


def _report(connection: Connection, failure: Failure) -> None:
    """Send what went wrong, if the parent still listens."""
    with suppress(ConnectionError):
        connection.send(failure)


def answer(env: gym.Env, command: str, argument: Any) -> Any:
    """Carry out a command of `Worker.send` in an environment made by `make_env`."""
    return env.reset(seed=argument)[0] if command == "reset" else take_step(env, argument)


def take_step(env: gym.Env, action: np.ndarray) -> StepResult:
    """Step an environment made by `make_env`."""
    observation, reward, terminated, truncated, info = env.step(action)
    return StepResult(observation, float(reward), terminated, truncated, info["frames"])
