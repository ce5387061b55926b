"""The progress of a run: a live line in a terminal, plain lines anywhere else."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dreamer.logs.stdout import Stdout

PLAIN_LINE_EVERY = 30.0
"""Seconds after which a plain line is printed even if no return came in."""


class Progress:
    """Show frames done, returns, speed and time left of one run; a context manager.

    Args:
        total_env_steps: Frames at which the run ends.
        start: Frames already done, not zero when a run is resumed.
        console: Where to show; default is stdout.
        every: Least seconds between two plain lines.
        window: Seconds over which the speed is averaged.
    """

    def __init__(
        self,
        total_env_steps: int,
        start: int = 0,
        console: Console | None = None,
        every: float = 5.0,
        window: float = 120.0,
    ) -> None:
        self.total = total_env_steps
        self.env_step = start
        self.grad_step = 0
        self.train_return: float | None = None
        self.eval_return: float | None = None
        self._console = console or Console(file=Stdout(), highlight=False)  # pyright: ignore[reportArgumentType]
        self._every, self._window = every, window
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), start)])
        self._last_line = time.monotonic() - every
        # Refreshed by its own thread, so that the display costs the training loop nothing.
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif kind is None:
            self._line()

    def update(
        self,
        env_step: int,
        grad_step: int | None = None,
        train_return: float | None = None,
        eval_return: float | None = None,
    ) -> None:
        """Set the newest counters and returns; what is `None` stays as it was.

        Plain lines are printed when a return came in, no more often than `every` seconds, and at least every
        `PLAIN_LINE_EVERY` seconds, so that a long round of updates does not look like a stall.
        """
        self.env_step = env_step
        self.grad_step = self.grad_step if grad_step is None else grad_step
        self.train_return = self.train_return if train_return is None else train_return
        self.eval_return = self.eval_return if eval_return is None else eval_return
        self._mark()
        news = train_return is not None or eval_return is not None
        quiet = time.monotonic() - self._last_line
        if not self._console.is_terminal and quiet >= (self._every if news else PLAIN_LINE_EVERY):
            self._line()

    @property
    def speed(self) -> float:
        """Frames per second over the last `window` seconds; 0 until half a second has been measured."""
        (before, first), (now, last) = self._marks[0], self._marks[-1]
        return (last - first) / (now - before) if now - before > 0.5 else 0.0

    def _mark(self) -> None:
        now = time.monotonic()
        self._marks.append((now, self.env_step))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._window:
            self._marks.popleft()

    def _fields(self) -> list[tuple[str, str]]:
        speed = self.speed
        left = _clock((self.total - self.env_step) / speed) if speed else "-"
        return [
            ("train", _number(self.train_return)),
            ("eval", _number(self.eval_return)),
            ("updates", f"{self.grad_step:,}"),
            ("frames/s", _number(speed or None)),
            ("left", left),
        ]

    def _line(self) -> None:
        self._last_line = time.monotonic()
        fields = "  ".join(f"{name} {value}" for name, value in self._fields())
        self._console.print(f"{self.env_step:,} / {self.total:,} frames  {fields}", soft_wrap=True)

    def _render(self) -> Table:
        bar = ProgressBar(self.total, min(self.env_step, self.total), width=None)
        line = Text(f"{self.env_step:,}/{self.total:,}")
        for name, value in self._fields():
            line.append(f"  {name} ", style="dim").append(value)
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(ratio=1, min_width=8)
        grid.add_column(no_wrap=True)
        grid.add_row(bar, line)
        return grid


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
