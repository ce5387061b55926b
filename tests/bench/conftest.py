import pytest


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short calls are not repeated beyond `repeats`."""
    monkeypatch.setattr("dreamer.bench.measurement.BUDGET", 1e-9)
