"""Runs as processes of this machine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dreamer.sweep.local import LocalPool
from dreamer.sweep.process import Command, Exit
from dreamer.sweep.share import Share
from sweep.commands import alive, wait_until

WAITS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
time.sleep(60)
"""


def command(tmp_path: Path, name: str) -> Command:
    return Command((), tmp_path / name, 1, tmp_path)


def gpu_of(tmp_path: Path, name: str) -> str:
    log = tmp_path / f"{name}.log"
    wait_until(lambda: log.exists() and "GPU" in log.read_text())
    return log.read_text().split("GPU ")[1].strip()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPool]:
    """Two of the GPUs of a larger machine, with room for two runs each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    with closing(LocalPool(Share(4, 1, 0.5), gpus=2)) as pool:
        yield pool


def test_runs_are_spread_over_the_gpus(program: Path, tmp_path: Path, gpus: LocalPool) -> None:
    program.write_text(WAITS)
    for name in "abcd":
        gpus.start(command(tmp_path, name))
    assert [gpu_of(tmp_path, name) for name in "abcd"] == ["2", "5", "2", "5"]


def test_runs_that_are_asked_to_stop_end_by_themselves(
    program: Path, tmp_path: Path, gpus: LocalPool
) -> None:
    program.write_text(WAITS)
    gpus.start(command(tmp_path, "a"))
    gpu_of(tmp_path, "a")
    assert gpus.begun("a")
    assert gpus.exits() == {}
    gpus.ask_to_stop()
    ends: dict[str, Exit] = {}
    wait_until(lambda: ends.update(gpus.exits()) or ends)
    assert ends == {"a": Exit("ended")}
    assert gpus.active == set()


def test_failure_has_its_reason(program: Path, tmp_path: Path) -> None:
    program.write_text("raise SystemExit('dreamer: Choose another name.')")
    with closing(LocalPool(Share(1, 1, 0), gpus=0)) as pool:
        pool.start(command(tmp_path, "a"))
        ends: dict[str, Exit] = {}
        wait_until(lambda: ends.update(pool.exits()) or ends)
    assert ends == {"a": Exit("failed", "Choose another name.")}


def test_close_kills_what_is_still_there(program: Path, tmp_path: Path) -> None:
    program.write_text(f"import os; print('process', os.getpid())\n{WAITS}".replace("sys.exit(0)", "None"))
    with closing(LocalPool(Share(1, 1, 0), gpus=0)) as pool:
        pool.start(command(tmp_path, "a"))
        assert gpu_of(tmp_path, "a")
        process_id = int((tmp_path / "a.log").read_text().split("process ")[-1].split()[0])
        assert alive(process_id)
    assert not alive(process_id)
