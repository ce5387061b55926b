"""Read how far each run of a sweep is from its `metrics.jsonl`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dreamer.results.curves import read_line
from dreamer.storage.regular_file import open_regular

State = Literal["waiting", "running", "done", "failed", "stopped"]

TAIL = 2**16
"""Bytes that are read from the end of `metrics.jsonl`: some dozens of lines."""


@dataclass
class Status:
    """State of one run. `read` brings the numbers up to date."""

    logdir: Path
    steps: int
    """Frames in all."""
    state: State = "waiting"
    reason: str = ""
    """Why the run failed, or was started again."""
    env_step: int = 0
    last_return: float | None = None
    """Return of the last evaluation or, before the first, of the last episode."""
    speed: float = 0.0
    """Frames per second."""
    evaluated_at: int = 0
    """Frames at the last evaluation."""
    kills: int = 0
    """How often the run was killed since it last got further than before."""
    furthest: int = 0
    """Most frames that the run had when it was killed."""
    _size: int = -1

    @property
    def name(self) -> str:
        return self.logdir.name

    @property
    def complete(self) -> bool:
        """Whether `metrics.jsonl` has the evaluation at the end of the run."""
        return self.evaluated_at >= self.steps

    @property
    def frames_left(self) -> int:
        return max(0, self.steps - self.env_step)

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present speed, or None if the speed is not known."""
        return self.frames_left / self.speed if self.speed else None

    def read(self) -> None:
        """Read the end of `metrics.jsonl` if it has changed. What cannot be read leaves the numbers as they were."""
        try:
            size = (self.logdir / "metrics.jsonl").stat().st_size
            if size == self._size:
                return
            lines = list(_last_lines(self.logdir / "metrics.jsonl"))
        except OSError:
            return
        self._size = size
        for line in lines:
            self._take_in(line)

    def _take_in(self, line: dict[str, Any]) -> None:
        self.env_step = line.get("env_step", self.env_step)
        self.speed = line.get("time/env_steps_per_s") or self.speed
        if (result := line.get("eval/return")) is not None:
            self.last_return, self.evaluated_at = result, self.env_step
        elif not self.evaluated_at:
            self.last_return = line.get("train/return", self.last_return)

    def count_kill(self) -> int:
        """Count a kill. Return the number of kills since the run last got further than ever before."""
        self.read()
        self.kills = 1 if self.env_step > self.furthest else self.kills + 1
        self.furthest = max(self.furthest, self.env_step)
        return self.kills


def _last_lines(record: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines at the end of `metrics.jsonl`."""
    with open_regular(record) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode(errors="replace")
    for line in text.splitlines():
        if (
            value := read_line(line)
        ) is not None:  # The first line of the tail is cut, or the last is being written.
            yield value
