"""The command line: it reads options and calls what does the work.

What loads PyTorch or a simulator is imported inside the commands, so that `--help` and mistyped options are
answered at once.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import dreamer
from dreamer.arguments import read
from dreamer.cli import help as help_text
from dreamer.cli.options import with_start
from dreamer.cli.results import plot, report, scores, table
from dreamer.cli.trained import dream, evaluate, export, verify, view
from dreamer.cli.training import bench, doctor, sweep, train
from dreamer.errors import UserError, did_you_mean
from dreamer.logs.stdout import Stdout, open_closed_streams, write_any_character
from dreamer.own_code import search_current_folder
from dreamer.ray_cluster import with_address

Command = Callable[..., int | None]

FAMILIES: dict[str, dict[str, Command]] = {
    "train": {"train": train, "sweep": sweep, "doctor": doctor, "bench": bench},
    "use what was learned": {
        "eval": evaluate,
        "dream": dream,
        "view": view,
        "export": export,
        "verify": verify,
    },
    "compare runs": {"plot": plot, "report": report, "scores": scores, "table": table},
}
COMMANDS = {name: function for family in FAMILIES.values() for name, function in family.items()}
OF_A_RUN = ("train", "bench", "doctor")
"""Commands that take all options of a run, from a starting point on."""


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its status."""
    open_closed_streams()
    write_any_character()
    # Whoever trains is not stopped by output that nobody can see. Of other commands the output is the result.
    needed = sys.argv[1:2] not in (["train"], ["sweep"])
    with redirect_stderr(Stdout(sys.stderr)), redirect_stdout(Stdout(sys.stdout, needed)):  # pyright: ignore[reportArgumentType]
        status = _run()
    _end_what_was_left(status)
    if "dreamer.distributed.ranks" in sys.modules:
        from dreamer.distributed.ranks import exit_process

        exit_process(status)
    sys.exit(status)


def _end_what_was_left(status: int) -> None:
    """Exit without waiting for processes and threads that an environment has left behind, if there are some."""
    if "multiprocessing.process" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.kill()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run() -> int:
    """Run the command that `sys.argv` names, and return its status; errors of the user are printed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    search_current_folder()
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        return 128 + (error.args[0] if error.args else signal.SIGINT)
    except BrokenPipeError:  # the reader of `dreamer ... | head` has seen enough
        return 128 + signal.SIGPIPE
    except OSError as error:  # a name that is too long, a folder that nobody may read
        if error.filename is None:
            raise
        print(
            f"dreamer: {error.filename} cannot be used ({error.strerror}): choose another path.",
            file=sys.stderr,
        )
        return 2


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    name, *words = arguments or ["help"]
    if name in ("help", "-h", "--help"):
        return run([words[0], "--help"]) if words else _print(help_text.overview(FAMILIES))
    if name == "--version":
        return _print(f"dreamer {dreamer.__version__}")
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        if name.startswith("-"):
            raise UserError(f"Options come after a command, which is one of {known}.")
        raise UserError(f"There is no command {name!r}{did_you_mean(name, COMMANDS)}; there are {known}.")
    command, call = _command(name, words)
    return _print(help_text.of_command(name, command)) if {"-h", "--help"} & {*words} else call() or 0


def _command(name: str, words: Sequence[str]) -> tuple[Any, Command]:
    """Return a command, as its help describes it, and the call of it with these words."""
    if name == "sweep":  # it has options of its own, and all others are those of every run
        from dreamer.sweep.sweep import Sweep, main

        return Sweep, partial(main, words)
    words = with_address(words)
    command: Any = with_start(COMMANDS[name], words) if name in OF_A_RUN else COMMANDS[name]
    return command, partial(read, command, words, f"dreamer {name}")


def _print(text: str) -> int:
    print(text)
    return 0
