"""A sweep directory, commands that end with the test, and a program in place of `dreamer train`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import dreamer
from sweep.commands import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    started = Commands(tmp_path / "sweep")
    yield started
    started.close()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file whose content runs in place of `dreamer train`: the last thing child.py does is to start it."""
    package = tmp_path / "dreamer"
    package.mkdir()
    (package / "__init__.py").write_text(f"__path__.append({str(Path(dreamer.__file__).parent)!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return package / "__main__.py"
