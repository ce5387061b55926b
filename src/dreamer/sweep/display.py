"""Show the progress of a sweep: a live table in a terminal, plain lines anywhere else."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dreamer.logs.stdout import Stdout
from dreamer.sweep.status import State, Status

EVERY = 60.0
"""Seconds between two plain lines about the whole sweep."""
ORDER: tuple[State, ...] = ("failed", "running", "waiting", "stopped", "done")
"""Order of the table. Its last rows are hidden if the terminal has not enough lines."""
OTHERS = 47
"""Columns of a terminal that the table takes beside the names of the runs."""
LEAST = 20
"""Columns below which there is no room for reasons. They are also printed above the table, and at the end."""
COLORS: dict[State, str] = {"failed": "red", "running": "cyan", "done": "green"}


class Display:
    """Shows the states of runs; use as a context manager."""

    def __init__(
        self, statuses: Sequence[Status], console: Console | None = None, every: float = EVERY
    ) -> None:
        self.statuses = statuses
        self._console = console or Console(file=Stdout(), highlight=False)  # pyright: ignore[reportArgumentType]
        self._every = every
        self._last_line = time.monotonic()
        self._live = Live(get_renderable=self.table, console=self._console, refresh_per_second=1)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def changed(self, status: Status) -> None:
        """Print that the state of a run has changed. In a terminal only reasons are printed; the table has the rest."""
        if status.reason or not self._console.is_terminal:
            self.message(f"{time.strftime('%H:%M:%S')}  {status.name}: {_sentence(status)}")

    def update(self) -> None:
        """Print a line about the whole sweep every so many seconds. A table is refreshed by itself."""
        if not self._console.is_terminal and time.monotonic() - self._last_line >= self._every:
            self._last_line = time.monotonic()
            self.message(f"{time.strftime('%H:%M:%S')}  {self.summary()}")

    def message(self, text: str) -> None:
        """Print a line, above the table if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def summary(self) -> str:
        """Return the number of runs in each state, the speed of all together, and the time left."""
        states = [status.state for status in self.statuses]
        counts = [f"{states.count(state)} {state}" for state in reversed(ORDER) if state in states]
        running = [status for status in self.statuses if status.state == "running"]
        if speed := sum(status.speed for status in running):
            left = sum(
                status.frames_left for status in self.statuses if status.state in ("running", "waiting")
            )
            counts += [f"{speed:.1f} frames/s", f"{_clock(left / speed)} left"]
        return ", ".join(counts)

    def table(self) -> Table:
        """Return a table of as many runs as the terminal has lines for, with the summary."""
        room = self._console.width - OTHERS
        reasons = room - max((len(status.name) for status in self.statuses), default=0) >= LEAST
        table = Table(box=SIMPLE, expand=reasons, pad_edge=False, collapse_padding=True)
        table.caption, table.caption_justify = self.summary(), "left"
        for column in ("run", "state"):
            table.add_column(column, no_wrap=True)
        for column in ("frames", "frames/s", "return", "left"):
            table.add_column(column, justify="right", no_wrap=True)
        if reasons:
            table.add_column("reason", no_wrap=True, ratio=1)  # what is left of the line
        order = sorted(self.statuses, key=lambda status: ORDER.index(status.state))
        shown = order[: max(1, self._console.height - 7)]
        for status in shown:
            reason = [Text(status.reason)] if reasons else []
            table.add_row(_fit(status.name, room), *_cells(status), *reason, style=COLORS.get(status.state))
        if hidden := len(order) - len(shown):
            table.add_row(f"and {hidden} more")
        return table


def _cells(status: Status) -> tuple[str, ...]:
    running = status.state == "running"
    return (
        status.state,
        f"{100 * status.env_step // status.steps}%",
        _number(status.speed or None) if running else "",
        _number(status.last_return),
        _clock(status.seconds_left) if running else "",
    )


def _fit(name: str, room: int) -> Text:
    """Shorten the name of a run in its middle, because its task comes first and its seed last."""
    end = max(4, (room - 1) // 2)
    return Text(name if len(name) <= room else f"{name[: max(4, room - 1 - end)]}…{name[-end:]}")


def _sentence(status: Status) -> str:
    words = status.state if not status.reason else f"{status.state}, {status.reason}"
    if status.state == "done":
        words += f", return {_number(status.last_return)}"
    return f"{words} ({status.env_step:,} of {status.steps:,} frames)" if status.env_step else words


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
