import pytest

from dreamer.config import with_options
from dreamer.presets import debug
from dreamer.results import timing
from dreamer.spec import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))


def test_an_update_is_timed_as_a_run_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def make(agent, path):
        order.append(path)
        return lambda batch, learning: order.append(learning) or agent.update(batch, learning)

    monkeypatch.setattr(timing, "make_update", make)
    monkeypatch.setattr(timing, "get_ready", lambda update, batch: order.append("ready"))
    monkeypatch.setattr(timing, "seconds_per_call", lambda call, *_: call() and 1.0)
    config = with_options(debug(), {"device": "cpu", "fast": False, "batch_size": 2, "batch_length": 3})
    cost = timing.time_agent(SPEC, config)
    assert order == [False, "ready", "all"]
    assert cost.checkpoint > 10_000


def test_a_call_that_takes_no_time_is_not_repeated_for_ever() -> None:
    assert len(timing.call_times(lambda: None, budget=60.0)) == timing.MOST_CALLS
