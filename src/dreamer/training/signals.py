"""Ctrl-C, SIGTERM and a closed terminal ask a run to stop at the next safe point."""

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CONFIRMATION = "Stopping after this step; once more stops at once.\n"


class Interrupt:
    """While entered, the first signal is confirmed and sets `requested`; a second one stops at once.

    The second sets `at_once` and raises `KeyboardInterrupt`. SIGHUP, which a closing terminal sends several times,
    never does; under `nohup` it stays ignored. In another thread than the main one, Python handles no signals.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False
        self.number: int | None = None
        """The signal that has asked first."""
        self._previous: dict[signal.Signals, signal.Handlers | None] = {}
        self._process = os.getpid()

    @property
    def status(self) -> int:
        """What a process that was asked to stop exits with, as shells expect: 128 + the number of the signal."""
        return 128 + self.number if self.number else 0

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._handle)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that an environment has forked: it ends, as others would
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if self.requested and number != signal.SIGHUP:
            self.at_once = True
            raise KeyboardInterrupt(number)
        if not self.requested:
            self.requested, self.number = True, number
            _write_at_once(CONFIRMATION)


def _write_at_once(line: str) -> None:
    """Write to stderr past its buffer, which the signal may have interrupted in the middle of a write."""
    below = "\n" if os.isatty(2) else ""  # In a terminal the cursor stands behind the progress line.
    with contextlib.suppress(OSError):
        os.write(2, (below + line).encode())
