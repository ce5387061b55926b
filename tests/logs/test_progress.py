import io

import pytest
from rich.console import Console

from dreamer.logs import progress as module
from dreamer.logs.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def console(**options):
    return Console(file=io.StringIO(), width=140, **options)


def shown(out):
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_plain_lines_when_a_return_comes_in(clock):
    out = console()
    with Progress(10_000, console=out) as progress:
        clock.now = 10.0
        progress.update(500, 10)  # no news
        progress.update(1000, 20, train_return=12.34)
        clock.now = 12.0
        progress.update(1200, 30, train_return=99.0)  # too soon after the last
        lines = shown(out).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("1,000 / 10,000 frames")
    for field in ("train 12.3", "eval -", "updates 20", "frames/s 100.0", "left 0:01:30"):
        assert field in lines[0]
    assert "train 99.0" in shown(out).splitlines()[-1]  # the last word, on leaving


def test_speed_is_that_of_the_last_seconds(clock):
    progress = Progress(10_000, start=1000, console=console(), window=10.0)
    for step in range(1, 11):
        clock.now += 1.0
        progress.update(1000 + step)
    assert progress.speed == pytest.approx(1.0)
    for step in range(1, 21):
        clock.now += 1.0
        progress.update(1010 + 50 * step)
    assert progress.speed == pytest.approx(50.0)


def test_progress_bar_in_a_terminal():
    out = console(force_terminal=True)
    with Progress(10_000, console=out) as progress:
        progress.update(2500, 7, train_return=1.0, eval_return=321.0)
    text = shown(out)
    for part in ("2,500/10,000", "321.0"):
        assert part in text
