"""Short evaluations at the end of every run in this process."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)  # as runs that several tests look at are made by module
def _short_final_evaluation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamer.config.FINAL_EPISODES", 2)
        yield
