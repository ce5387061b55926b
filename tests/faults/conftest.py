"""Processes in which runs are trained and killed."""

from collections.abc import Iterator

import pytest

from faults.runs import Runs


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    started = Runs()
    yield started
    started.close()
