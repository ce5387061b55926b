"""Short evaluations at the end of every run in this process."""

import pytest


@pytest.fixture(autouse=True)
def _short_final_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamer.config.FINAL_EPISODES", 2)
