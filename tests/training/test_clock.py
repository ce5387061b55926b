"""Clocks: what is due at which frame, and that their state comes back."""

import pytest

from dreamer.training import clock
from dreamer.training.clock import Counters, Every, Rounds
from training.runs import config


def _due_at(every: Every, env_steps: range) -> list[int]:
    """The frames at which it was due, and then done."""
    found = []
    for env_step in env_steps:
        if every.due(env_step):
            found.append(env_step)
            every.done(env_step)
    return found


def test_every_is_due_at_multiples_of_its_period() -> None:
    assert _due_at(Every(10), range(41)) == [10, 20, 30, 40]
    assert _due_at(Every(10), range(0, 41, 4)) == [12, 20, 32, 40]
    assert _due_at(Every(0), range(41)) == []


def test_every_stays_due_until_it_is_done() -> None:
    every = Every(10)
    assert every.due(10)
    assert every.due(23)
    every.done(23)
    assert not every.due(29)
    assert every.due(30)


def test_every_follows_a_changed_period_after_a_resume() -> None:
    every, other = Every(100), Every(30)
    every.done(130)
    other.load_state_dict(every.state_dict())
    assert _due_at(other, range(130, 200)) == [150, 180]


def test_rounds_follow_the_frames_since_learning_began() -> None:
    rounds = Rounds(config(train_every=100, train_steps=4, pretrain_model=5, pretrain_value=3).training)
    assert rounds.begun(1000) == rounds.updates_due(1000) == 0
    rounds.start = 230
    assert [rounds.begun(env_step) for env_step in (230, 329, 330, 430)] == [1, 1, 2, 3]
    assert [rounds.end(env_step) for env_step in (230, 329, 330)] == [330, 330, 430]
    assert [rounds.updates_due(env_step) for env_step in (230, 329, 330)] == [12, 12, 16]
    assert [rounds.phase(grad_step) for grad_step in (0, 4, 5, 7, 8, 99)] == [
        "model",
        "model",
        "model and value",
        "model and value",
        "all",
        "all",
    ]
    other = Rounds(rounds.schedule)
    other.load_state_dict(rounds.state_dict())
    assert other.start == 230


def test_counters_add_the_seconds_of_every_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(clock.time, "monotonic", lambda: now)
    counters = Counters(env_step=7)
    now = 150.0
    assert counters.seconds == 0
    counters.start()
    now = 160.0
    assert counters.seconds == 10
    resumed = Counters()
    resumed.load_state_dict(counters.state_dict())
    assert (resumed.env_step, resumed.finished_at, resumed.seconds) == (7, None, 10)
    resumed.start()
    now = 165.0
    assert resumed.seconds == 15
