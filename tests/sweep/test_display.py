"""The table of a terminal, and plain lines."""

import errno
import io
from pathlib import Path

import pytest
from rich.console import Console

from dreamer.sweep.display import Display
from dreamer.sweep.status import State, Status


def status(name: str, state: State, **numbers: float) -> Status:
    made = Status(Path(name), 100_000, state)
    for key, value in numbers.items():
        setattr(made, key, value)
    return made


def console(height: int = 40, terminal: bool = True, width: int = 110) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=terminal,
        color_system=None,
        _environ={},
    )


def shown(display: Display, on: Console) -> list[str]:
    with on.capture() as capture:
        on.print(display.table())
    return [line.rstrip() for line in capture.get().splitlines() if line.strip()]


RUNNING = {"env_step": 34_000, "speed": 40.0, "last_return": 233.14}


def test_table_has_a_row_for_each_run_and_counts_them() -> None:
    failed = status("a-dreamer-0", "failed")
    failed.reason = "[a] needs a package that is nowhere to be found, and this is a long story"
    states = [status("b-dreamer-0", "running", **RUNNING), failed, status("c-dreamer-0", "waiting")]
    lines = shown(Display(states, on := console()), on)
    rows = [line.split() for line in lines if "-dreamer-" in line]
    assert rows[0][:8] == ["a-dreamer-0", "failed", "0%", "-", "[a]", "needs", "a", "package"]
    assert rows[0][-1].endswith("…")
    assert rows[1] == ["b-dreamer-0", "running", "34%", "40.0", "233.1", "0:27:30"]
    assert rows[2] == ["c-dreamer-0", "waiting", "0%", "-"]
    # 66,000 frames of b and 100,000 of c at 40 frames/s; what failed is not waited for.
    assert lines[-1].strip() == "1 waiting, 1 running, 1 failed, 40.0 frames/s, 1:09:10 left"


def test_table_is_no_longer_than_the_terminal() -> None:
    states = [status(f"run-{index}", "done", last_return=1.0) for index in range(30)]
    states += [status("broken", "failed"), status("busy", "running", **RUNNING)]
    lines = shown(Display(states, on := console(height=14)), on)
    assert len(lines) <= 13
    text = "\n".join(lines)
    assert "broken" in text
    assert "busy" in text
    assert "and 25 more" in text
    assert "30 done, 1 running, 1 failed" in text


def test_usual_terminal_shows_the_longest_name_of_the_paper() -> None:
    run = status("cartpole_balance_sparse-dreamer-0", "running", **RUNNING)
    lines = shown(Display([run], on := console(width=80)), on)
    assert lines[0].split() == ["run", "state", "frames", "frames/s", "return", "left"]
    row = ["cartpole_balance_sparse-dreamer-0", "running", "34%", "40.0", "233.1", "0:27:30"]
    assert next(line.split() for line in lines if "running" in line) == row


def test_long_name_keeps_its_task_and_its_seed() -> None:
    run = status("cartpole_balance_sparse-no-value,horizon=15-3", "running", **RUNNING)
    for width in (80, 60):
        lines = shown(Display([run], on := console(width=width)), on)
        (row,) = (line.split() for line in lines if "34%" in line)
        assert row[0].startswith("cart")
        assert row[0].endswith("15-3")
        assert row[1:] == ["running", "34%", "40.0", "233.1", "0:27:30"]


def test_plain_lines_tell_every_change_and_the_whole_now_and_then() -> None:
    states = [status("a-dreamer-0", "done", env_step=100_000, last_return=595.04), status("b", "waiting")]
    on = console(terminal=False)
    display = Display(states, on, every=0.0)
    with on.capture() as capture, display:
        display.changed(states[0])
        display.changed(states[1])
        display.update()
    lines = [line[10:] for line in capture.get().splitlines()]  # without the time of day
    assert lines == [
        "a-dreamer-0: done, return 595.0 (100,000 of 100,000 frames)",
        "b: waiting",
        "1 done, 1 waiting",
    ]


def test_terminal_has_no_plain_lines_but_whole_reasons() -> None:
    states = [status("a", "done"), status("b", "failed")]
    states[1].reason = "It is a long story: " + "long " * 50
    display = Display(states, on := console(), every=0.0)
    with on.capture() as capture:
        for changed in states:
            display.changed(changed)
        display.update()
    assert capture.get()[10:] == f"b: failed, {states[1].reason}\n"


def test_lost_output_stops_no_sweep(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def fileno(self) -> int:
            raise OSError

    monkeypatch.setattr("sys.stdout", Closed())
    display = Display([])
    display.message("Is anybody there?")
    assert "The output has gone (Broken pipe): going on without it." in caplog.text
