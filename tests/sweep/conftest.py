"""A sweep directory, commands that end with the test, and a program in place of `dreamer train`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.commands import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    started = Commands(tmp_path / "sweep")
    yield started
    started.close()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file whose content runs in place of `dreamer train`: the last thing child.py does is to start it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "dreamer.py"
