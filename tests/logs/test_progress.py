import io
import re

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


def test_last_line_is_not_printed_twice(clock):
    out = console()
    with Progress(1000, console=out) as progress:
        clock.now = 10.0
        progress.update(1000, 20, train_return=12.34)
        progress.update(1000, doing="writing videos")
    assert len(shown(out).splitlines()) == 1


def test_time_left_follows_the_forecast_until_updates_are_taken(clock):
    """Frames are quick and updates slow: 1000 frames of 10 ms each, then 100 updates of 1 s for every 1000 frames."""

    def forecast(env_step, grad_step):
        return 0.01 * (3000 - env_step) + 1.0 * (200 - grad_step)

    progress = Progress(3000, console=console(), forecast=forecast)
    clock.now = 1.0
    progress.update(1000)  # ten times as fast as predicted, which says nothing of the updates
    assert progress.seconds_left == pytest.approx(20 + 200)
    clock.now = 101.0
    progress.update(1000, 50)  # 50 updates took 100 s, twice as long as predicted
    predicted = forecast(0, 0) - forecast(1000, 50)
    assert progress.seconds_left == pytest.approx((20 + 150) * 101 / predicted)
    progress.update(3000, 200)
    assert progress.seconds_left == 0


def test_time_left_goes_down_while_nothing_is_counted(clock):
    out = console()
    with Progress(1000, console=out, forecast=lambda env_step, _: 60.0 * (1 - env_step / 1000)) as progress:
        clock.now = 10.0
    assert "left 0:00:50" in shown(out)
    assert progress.seconds_left == 60.0


def test_what_a_run_does_is_shown(clock):
    out = console()
    with Progress(1000, console=out) as progress:
        clock.now = 40.0
        progress.update(100, 3, doing="pretraining 3/40")
    assert "100 / 1,000 frames  pretraining 3/40  train -" in shown(out)


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


def test_a_run_that_is_over_is_shown_as_a_whole(clock):
    """Even if the forecast expected more updates."""
    out = console(force_terminal=True)
    with Progress(
        1000, console=out, forecast=lambda frames, updates: 1000 - frames + 58 - updates
    ) as progress:
        progress.update(1000, 42, doing="writing videos")
    last = shown(out).splitlines()[-3:]
    assert "100%" in "".join(last)
    assert "writing videos" not in "".join(last)


def test_progress_bar_in_a_terminal():
    out = console(force_terminal=True)
    with Progress(10_000, console=out) as progress:
        progress.update(2500, 7, train_return=1.0, eval_return=321.0)
    text = shown(out)
    for part in ("2,500/10,000 frames", "321.0", "25%"):
        assert part in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_off_in_a_narrow_terminal(width):
    out = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False, no_color=True)
    with Progress(10_000_000, 9_000_000, 1_234_567, out, forecast=lambda *_: 86_399.0) as progress:
        progress.update(9_000_000, 1_234_567, -1234.5, -1234.5, "pretraining 1,299/1,300")
        out.print(progress._render())
    text = re.sub(r"\x1b\S*?[A-Za-z]", "", shown(out))
    for part in (
        "pretraining",
        "1,299/1,300",
        "23:59:59 left",
        "9,000,000/10,000,000",
        "eval -1234.5",
        "1,234,567",
    ):
        assert part in text, text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("terminal", "shows"), [(True, True), (False, False)])
def test_work_without_an_end_is_shown_in_a_terminal_alone(terminal, shows, monkeypatch):
    out = Console(file=io.StringIO(), width=80, force_terminal=terminal, highlight=False)
    monkeypatch.setattr(module, "Console", lambda **_: out)
    with module.working("measuring"):
        out.print("a row")
    assert ("measuring" in shown(out)) == shows
    assert "a row" in shown(out)


def test_ascii_terminal_gets_ascii():
    raw = io.BytesIO()
    out = Console(
        file=io.TextIOWrapper(raw, encoding="ascii"), width=80, force_terminal=True, highlight=False
    )
    with Progress(1000, console=out) as progress:
        progress.update(500, 7, train_return=1.0, doing="learning")
    out.file.flush()
    assert b"500/1,000" in raw.getvalue()
