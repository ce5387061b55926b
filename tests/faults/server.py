"""Start runs as forks of this process, which has loaded everything: so a run begins at once, and may be killed.

One request a line on stdin: the run as JSON, see `Run` in `runs.py`. One answer a line on stdout: the exit status.
"""

import itertools
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorboard.compat.proto.event_pb2
import tensorboard.compat.tensorflow_stub.pywrap_tensorflow  # noqa: F401 (a run would load them)
import torch

import dreamer.config
from dreamer.errors import UserError
from dreamer.training import trainer as training
from training.runs import config

REFUSED = 2
TRACEBACK = 70


def serve() -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        kill_after = request.pop("kill_after")
        child = os.fork()
        if not child:
            os._exit(_train(**request))
        killer = threading.Timer(kill_after, os.kill, (child, signal.SIGKILL))
        if kill_after >= 0:
            killer.start()
        _, status = os.waitpid(child, 0)
        killer.cancel()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _train(logdir: str, options: dict[str, Any], kill_at: int, log: str) -> int:
    """Train in this process, which is killed at a file operation, counted from 0."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(output, 2)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    torch.use_deterministic_algorithms(True)
    dreamer.config.FINAL_EPISODES = 2
    count = _kill_at(kill_at, logdir)
    try:
        run = training.Trainer(config(**options), Path(logdir))
        try:
            run.run()
        finally:
            run.close()
    except UserError as error:
        sys.stderr.write(f"dreamer: {error}\n")
        return REFUSED
    except BaseException:
        traceback.print_exc()
        return TRACEBACK
    sys.stderr.write(f"file operations: {next(count)}\n")
    sys.stderr.flush()
    return 0


def _kill_at(number: int, directory: str) -> "itertools.count[int]":
    """Kill this process before the file operation of that number below `directory`; return what counts them."""
    count, here = itertools.count(), os.getpid()

    def operation() -> None:
        if os.getpid() == here and next(count) == number:
            os.kill(here, signal.SIGKILL)

    def audit(event: str, arguments: Sequence[Any]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = flags is not None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, changes = (
                (arguments or [None])[0],
                event in ("os.rename", "os.remove", "os.mkdir", "os.truncate"),
            )
        if changes and isinstance(path, str | os.PathLike) and str(path).startswith(directory):
            operation()

    def fsync(descriptor: int) -> None:
        operation()  # when everything is written, and nothing has its name yet
        original(descriptor)

    original, os.fsync = os.fsync, fsync
    sys.addaudithook(audit)
    return count


if __name__ == "__main__":
    serve()
