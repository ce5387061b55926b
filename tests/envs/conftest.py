"""Lets every test here make `gym:sample_environments:<id>`."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _sample_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
