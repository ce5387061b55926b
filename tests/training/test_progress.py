import io

import pytest
from rich.console import Console

from dreamer.training import progress as module
from dreamer.training.progress import Progress


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


def test_plain_lines_when_a_return_comes_in(clock):
    out = console()
    with Progress(10_000, console=out) as progress:
        clock.now = 10.0
        progress.update(500, 10)  # no news
        progress.update(1000, 20, train_return=12.34)
        clock.now = 12.0
        progress.update(1200, 30, train_return=99.0)  # too soon after the last
        lines = out.file.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("1,000 / 10,000 frames")
    assert "train 12.3" in lines[0] and "eval -" in lines[0] and "updates 20" in lines[0]
    assert "frames/s 100.0" in lines[0] and "left 0:01:30" in lines[0]
    assert "train 99.0" in out.file.getvalue().splitlines()[-1]  # the last word, on leaving


def test_speed_forgets_what_is_long_ago(clock):
    progress = Progress(10_000, start=1000, console=console(), window=10.0)
    for step in range(1, 11):
        clock.now += 1.0
        progress.update(1000 + step)
    assert progress.speed == pytest.approx(1.0)
    for step in range(1, 21):
        clock.now += 1.0
        progress.update(1010 + 50 * step)
    assert progress.speed == pytest.approx(50.0)


def test_terminal_shows_a_bar_and_messages_above():
    out = console(force_terminal=True)
    with Progress(10_000, console=out) as progress:
        progress.update(2500, 7, train_return=1.0, eval_return=321.0)
        progress.message("Saved [checkpoint].")
    text = out.file.getvalue()
    assert "Saved [checkpoint]." in text and "2,500/10,000" in text and "321.0" in text
