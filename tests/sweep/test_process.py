"""One run as a process."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dreamer.errors import UserError
from dreamer.sweep import child, process
from dreamer.sweep.process import Command, Exit, exit_of
from sweep.commands import alive, wait_until


def command(tmp_path: Path, *arguments: str) -> Command:
    return Command(arguments, tmp_path / "run", 2, tmp_path)


def test_run_has_its_arguments_its_threads_and_a_log(program: Path, tmp_path: Path) -> None:
    program.write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])\n"
        "print(os.environ['GPU'], os.nice(0), os.getsid(0) == os.getpid(), os.getcwd())\n"
    )
    started = process.start(command(tmp_path, "--seed", "3"), {"GPU": "1"})
    assert started.wait() == 0
    logdir = tmp_path / "run"
    arguments = ["--seed", "3", "--logdir", str(logdir)]
    header, *lines = (tmp_path / "run.log").read_text().splitlines()
    assert header.startswith("== ")
    assert header.endswith(f", process {started.pid}: dreamer train {' '.join(arguments)}")
    priority = max(os.nice(0), child.NICE)
    assert lines == [f"{['train', *arguments]} 2 passive", f"1 {priority} True {tmp_path}"]
    assert not logdir.exists()


@pytest.mark.skipif(not child.AUTOGROUP.exists(), reason="this kernel shares the cores among processes only")
def test_session_of_a_run_has_the_priority_of_the_run(program: Path, tmp_path: Path) -> None:
    program.write_text("print(open('/proc/self/autogroup').read())")
    assert process.start(command(tmp_path)).wait() == 0
    assert f" nice {max(os.nice(0), child.NICE)}\n" in (tmp_path / "run.log").read_text()


def test_log_goes_on_where_it_was(program: Path, tmp_path: Path) -> None:
    program.write_text("")
    for _ in range(2):
        process.start(command(tmp_path)).wait()
    assert (tmp_path / "run.log").read_text().count("== ") == 2


def test_log_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot write .*nowhere"):
        process.start(Command((), tmp_path / "nowhere" / "run", 1, tmp_path))


def test_run_hears_signals_that_its_parent_has_blocked(program: Path, tmp_path: Path) -> None:
    program.write_text("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start(command(tmp_path)).wait()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert (tmp_path / "run.log").read_text().splitlines()[-1] == "set()"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
def test_run_dies_with_the_thread_that_started_it(program: Path, tmp_path: Path) -> None:
    program.write_text("import time; print('begun', flush=True); time.sleep(60)")
    started: list[subprocess.Popen] = []
    release = threading.Event()
    parent = threading.Thread(
        target=lambda: (started.append(process.start(command(tmp_path))), release.wait())
    )
    parent.start()
    log = tmp_path / "run.log"
    wait_until(lambda: log.exists() and "begun" in log.read_text())
    assert alive(started[0].pid)
    release.set()
    parent.join()
    assert started[0].wait(10) == -signal.SIGKILL


def test_run_whose_parent_has_gone_already_does_not_begin(tmp_path: Path) -> None:
    line = [sys.executable, child.__file__, "1234567", str(tmp_path / ".lock")]
    result = subprocess.run(line, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        1,
        "The process that started this one has ended before it began.\n",
    )


def test_run_waits_for_the_one_that_was_there_before(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    child.wait_until_free(lock, 0)  # there was none
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        begun = time.monotonic()
        child.wait_until_free(lock, 0.5)
        assert time.monotonic() - begun >= 0.5
        threading.Timer(0.3, file.close).start()
        child.wait_until_free(lock, 60)
        assert time.monotonic() - begun < 30


def test_run_does_not_wait_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".lock").touch()
    begun = time.monotonic()
    child.wait_until_free(tmp_path / ".lock", 60)
    assert time.monotonic() - begun < 30


def test_exits_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("Traceback\nValueError: no\n\n")
    assert exit_of(0, log) == Exit("ended")
    assert exit_of(128 + signal.SIGTERM, log) == Exit("ended")
    assert exit_of(1, log) == Exit("failed", "ValueError: no")
    assert exit_of(-signal.SIGTERM, log) == Exit("killed", "killed by SIGTERM")
    assert exit_of(-signal.SIGKILL, log) == Exit(
        "killed", "killed by SIGKILL (perhaps because memory ran out)"
    )
    log.write_text("x" * 5000 + "\ndreamer: Choose another name.\n")
    assert exit_of(2, log) == Exit("failed", "Choose another name.")
    log.write_text("")
    assert exit_of(3, log) == Exit("failed", f"exit status 3, see {log}")


def test_full_disk_is_the_reason_when_the_log_cannot_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.log").write_text("34,000 / 100,000 frames")
    usage = process.shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(process.shutil, "disk_usage", lambda _: usage)
    assert exit_of(2, tmp_path / "run.log") == Exit("failed", f"the disk of {tmp_path} is full: make room")
