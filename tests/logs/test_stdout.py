"""Standard output that is closed or goes away takes nothing with it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

import dreamer
from dreamer.errors import UserError
from dreamer.logs.stdout import Stdout


@contextmanager
def _pipe_without_reader() -> Iterator[TextIO]:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        yield file


def test_stdout_writes_through(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        output = Stdout(file)
        assert output.write("text") == 4
        output.flush()
        assert output.fileno() == file.fileno()
    assert (tmp_path / "file").read_text() == "text"


def test_an_environment_cannot_close_the_output(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        output = Stdout(file)
        output.close()
        output.write("text")
    assert (tmp_path / "file").read_text() == "text"


def test_reader_that_left_is_noticed_once(caplog: pytest.LogCaptureFixture) -> None:
    with _pipe_without_reader() as file:
        output = Stdout(file)
        for _ in range(2):
            output.write("text")
            output.flush()
        # To the null device: neither this nor closing the file complains.
        print("more", file=file, flush=True)
    assert [record.message for record in caplog.records] == [
        "The output has gone (Broken pipe): going on without it."
    ]


def test_output_that_is_needed_raises() -> None:
    with _pipe_without_reader() as file:
        output = Stdout(file, needed=True)
        output.write("text")
        with pytest.raises(BrokenPipeError):
            output.flush()
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as file:
            output = Stdout(file, needed=True)
            output.write("text")
            with pytest.raises(UserError, match=r"Cannot write the output \(No space left on device\)"):
                output.flush()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams_are_opened(closed: tuple[int, ...], tmp_path: Path) -> None:
    """What is printed must not end up in the next file that is opened, here and in a child process."""
    code = (
        "import os, subprocess, sys; from dreamer.logs.stdout import open_closed_streams\n"
        "open_closed_streams()\n"
        "file = open('file', 'w')\n"
        "print('out'); print('err', file=sys.stderr); sys.stdin.read()\n"
        "subprocess.run([sys.executable, '-c', 'import sys; print(1); print(2, file=sys.stderr)'], check=True)\n"
        "os.write(1, b'out'); os.write(2, b'err'); file.write('done')\n"
    )
    subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" ' + " ".join(f"{n}>&-" for n in closed), sys.executable, code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert (tmp_path / "file").read_text() == "done"
