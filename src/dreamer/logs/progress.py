"""The progress of a run, or of another command: a bar in a terminal, plain lines anywhere else."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from dreamer.logs.stdout import Stdout

PLAIN_LINE_EVERY = 30.0
"""Seconds after which a plain line is printed even if no return came in."""
Forecast = Callable[[int, int], float]
"""Seconds that a run is predicted to take from an `env_step` and a `grad_step` on."""


class Progress:
    """Show what a run does, how far it is, its last returns, its speed and the time left; a context manager.

    The time left follows from the `forecast`, which knows that updates take longer than frames; as soon as updates are
    taken, it is corrected by how long they really take. Without a forecast it follows from the frames so far.

    Args:
        total_env_steps: Frames at which the run ends.
        start: Frames already done, not zero when a run is resumed; and `grad_step`, updates.
        console: Where to show; default is stdout.
        every: Least seconds between two plain lines.
        window: Seconds over which the speed is averaged.
    """

    def __init__(
        self,
        total_env_steps: int,
        start: int = 0,
        grad_step: int = 0,
        console: Console | None = None,
        every: float = 5.0,
        window: float = 120.0,
        forecast: Forecast | None = None,
    ) -> None:
        self.total, self.forecast = total_env_steps, forecast
        self.env_step, self.grad_step = start, grad_step
        self.doing = ""
        self.train_return: float | None = None
        self.eval_return: float | None = None
        self._console = console or Console(file=Stdout(), highlight=False)  # pyright: ignore[reportArgumentType]
        self._every, self._window = every, window
        self._marks: deque[tuple[float, int, int]] = deque([(time.monotonic(), start, grad_step)])
        self._last_line = time.monotonic() - every
        self._printed: tuple[float | None, ...] = ()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(None),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._task = self._bar.add_task("", total=1, left="")
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
            self.doing = ""
            self._live.stop()
        elif kind is None and self._printed != self._numbers():
            self.doing = ""
            self._line()

    def update(
        self,
        env_step: int,
        grad_step: int | None = None,
        train_return: float | None = None,
        eval_return: float | None = None,
        doing: str | None = None,
    ) -> None:
        """Set the newest counters and returns; what is `None` stays as it was.

        Plain lines are printed when a return came in, no more often than `every` seconds, and at least every
        `PLAIN_LINE_EVERY` seconds, so that a long round of updates does not look like a stall.
        """
        self.env_step = env_step
        self.grad_step = self.grad_step if grad_step is None else grad_step
        self.train_return = self.train_return if train_return is None else train_return
        self.eval_return = self.eval_return if eval_return is None else eval_return
        self.doing = self.doing if doing is None else doing
        self._mark()
        news = train_return is not None or eval_return is not None
        quiet = time.monotonic() - self._last_line
        if not self._console.is_terminal and quiet >= (self._every if news else PLAIN_LINE_EVERY):
            self._line()

    @property
    def speed(self) -> float:
        """Frames per second over the last `window` seconds; 0 until half a second has been measured."""
        (before, first, _), (now, last, _) = self._marks[0], self._marks[-1]
        return (last - first) / (now - before) if now - before > 0.5 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the run will still take, or None as long as nothing is known of it."""
        if self.env_step >= self.total:
            return 0.0
        if self.forecast is None:
            return (self.total - self.env_step) / self.speed if self.speed else None
        (before, *first), (now, *last) = self._marks[0], self._marks[-1]
        left = self.forecast(*last)
        predicted = self.forecast(*first) - left
        updates = last[1] - first[1]
        return left * (now - before) / predicted if updates and predicted > 0 else left

    def _mark(self) -> None:
        now = time.monotonic()
        self._marks.append((now, self.env_step, self.grad_step))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._window:
            self._marks.popleft()

    def _left(self) -> str:
        seconds = self.seconds_left
        return "-" if seconds is None else _clock(max(0.0, seconds - (time.monotonic() - self._marks[-1][0])))

    def _fields(self) -> list[tuple[str, str]]:
        return [
            ("train", _number(self.train_return)),
            ("eval", _number(self.eval_return)),
            ("updates", f"{self.grad_step:,}"),
            ("frames/s", _number(self.speed or None)),
        ]

    def _numbers(self) -> tuple[float | None, ...]:
        return self.env_step, self.grad_step, self.train_return, self.eval_return

    def _line(self) -> None:
        self._last_line, self._printed = time.monotonic(), self._numbers()
        doing = [("", self.doing)] if self.doing else []
        fields = [*doing, *self._fields(), ("left", self._left())]
        text = "  ".join(f"{name} {value}".strip() for name, value in fields)
        self._console.print(f"{self.env_step:,} / {self.total:,} frames  {text}", soft_wrap=True)

    def _render(self) -> Group:
        """Return the bar, and below it the numbers, on as many lines as they need."""
        done = min(1.0, self.env_step / self.total)
        if self.forecast is not None and done < 1:
            done = 1 - self.forecast(self.env_step, self.grad_step) / max(self.forecast(0, 0), 1e-9)
        self._bar.update(self._task, completed=done, description=self.doing, left=f"{self._left()} left")
        numbers = [Text.assemble((f"{name} ", "dim"), value) for name, value in self._fields()]
        return Group(
            self._bar, Columns([Text(f"{self.env_step:,}/{self.total:,} frames"), *numbers], padding=(0, 2))
        )


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """In a terminal, show that something goes on, for how long, below what is printed meanwhile."""
    console = Console(highlight=False)
    if not console.is_terminal:
        yield
        return
    columns = (SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        bar.add_task(what, total=None)
        yield


def duration(seconds: float) -> str:
    """Return a time in words: `2.5 h`, `41 min`, `8 s`."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
