"""What an environment in the process of the run may change there, and the run needs as it was."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a run is asked to stop, and then saves."""

_OF_TORCH = {
    "is_grad_enabled": "set_grad_enabled",
    "get_default_dtype": "set_default_dtype",
    "get_num_threads": "set_num_threads",
}
"""Functions of PyTorch that read a setting, and those that change it."""


@contextmanager
def kept() -> Iterator[None]:
    """Handle the signals that stop a run as before after the block, and compute as before."""
    handlers = {number: signal.getsignal(number) for number in STOPS}
    torch: Any = sys.modules.get("torch")  # in a worker process it is there only if the environment needs it
    settings = {read: getattr(torch, read)() for read in _OF_TORCH} if torch else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) != handler and threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
        for read, setting in settings.items():
            if getattr(torch, read)() != setting:
                getattr(torch, _OF_TORCH[read])(setting)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether a user has pressed Ctrl-C, and not the environment raised `KeyboardInterrupt` itself."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return bool(error.args) or signal.getsignal(signal.SIGINT) == signal.default_int_handler
