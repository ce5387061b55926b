"""Standard output that goes away takes nothing with it."""

import os

from dreamer.logs.stdout import Stdout


def test_stdout_writes_through(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file:
        output = Stdout(file)
        assert output.write("text") == 4
        output.flush()
        assert not output.lost
        assert output.fileno() == file.fileno()
    assert (tmp_path / "file").read_text() == "text"


def test_reader_that_left_is_noticed_once() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        output = Stdout(file)
        output.write("text")
        output.flush()
        assert output.lost
        # To the null device: neither this nor closing the file complains.
        print("more", file=file, flush=True)
