"""A write that fails leaves what was there, and nothing else."""

import contextlib
import errno
import os
import resource

import pytest

from dreamer.errors import UserError
from dreamer.storage.atomic_file import atomic_file, remove_leftovers


@contextlib.contextmanager
def no_room():
    """No file may grow beyond 1000 bytes: the kernel refuses the write, as on a full disk.

    Not a fixture: while it holds, the tests' own output cannot be written to a file either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _write(path, content: bytes, then: type[BaseException] | None = None) -> None:
    with atomic_file(path) as file:
        file.write(content)
        if then:
            raise then


def test_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("size", [2000, 2_000_000])  # refused when flushed, and when written
def test_a_refused_write_leaves_the_old_file(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match="make room"), no_room():
        _write(path, bytes(size))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_late_leaves_the_old_file(tmp_path, monkeypatch, call):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(UserError, match="No space left on device"):
        _write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_nothing_is_written_through_a_link(tmp_path, monkeypatch):
    """Neither through one with the name of a temporary file, if somebody guessed it, nor through the file itself."""
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0123456789abcdef")
    (tmp_path / "file.0123456789abcdef.tmp").symlink_to(other)
    with pytest.raises(UserError, match="File exists"):
        _write(tmp_path / "file", b"new")
    monkeypatch.undo()
    (tmp_path / "file").symlink_to(other)
    _write(tmp_path / "file", b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert other.read_bytes() == b"of somebody else"


def test_temporary_names_differ_and_permissions_are_the_usual_ones(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_file(tmp_path / "file"), atomic_file(tmp_path / "file"):
        assert len(list(tmp_path.glob("file.*.tmp"))) == 2
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_error_of_the_writer_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path / "file", b"half", then=KeyboardInterrupt)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="Cannot write"):
        _write(tmp_path / "missing" / "file", b"new")


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "other.tmp").touch()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_a_pipe_or_device_is_not_replaced(make, tmp_path):
    make(tmp_path / "out")
    with (
        pytest.raises(UserError, match=r"out \(it is no ordinary file\)"),
        atomic_file(tmp_path / "out") as file,
    ):
        file.write(b"x")
    assert not (tmp_path / "out").is_file()
    assert len(list(tmp_path.iterdir())) == 1
