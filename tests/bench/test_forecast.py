from typing import Any

import pytest

from bench.small import small_run
from dreamer.agents.agent import Agent
from dreamer.bench import forecast as forecasts
from dreamer.bench.forecast import AgentCost, forecast, time_agent
from dreamer.config import Config, with_options
from dreamer.types import ActionSpec, Batch, EnvSpec, Metrics, Phase

SPEC = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(6))
AGENT = AgentCost(update=0.5, action=0.01)


def config(**options: Any) -> Config:
    return with_options(Config(), {"steps": 105_000, **options})


def test_run_with_one_environment() -> None:
    expected = forecast(config(eval_every=0), AGENT, env_seconds=0.03, cores=2)
    assert (
        expected.updates == 101 * 100
    )  # a round at first, and one per 1000 frames after the 5000 random ones
    assert expected.updates * expected.update == pytest.approx(10_100 * 0.5)
    steps = (105_000 + 10 * 1000) / 2  # the final evaluation has ten episodes
    assert expected.seconds_left(0, 0) == pytest.approx(10_100 * 0.5 + steps * 0.04)


def test_pretraining_takes_updates() -> None:
    more = forecast(config(pretrain_model=1000, pretrain_value=300), AGENT, 0.03, cores=2)
    assert more.updates - forecast(config(), AGENT, 0.03, cores=2).updates == 1300


def test_evaluations_take_time() -> None:
    without = forecast(config(eval_every=0), AGENT, 0.03, cores=2)
    every = forecast(config(eval_every=10_000, eval_episodes=2), AGENT, 0.03, cores=2)
    assert every.acting - without.acting == pytest.approx(10 * 2 * 500 * 0.04)


def test_environments_share_the_cores() -> None:
    one = forecast(config(eval_every=0), AGENT, 0.03, cores=2)
    four = forecast(config(eval_every=0, num_envs=4), AGENT, 0.03, cores=2)
    evaluation = 10 * 500 * 0.04  # the last one, in a single environment
    assert four.acting == pytest.approx(52_500 * (0.03 / 2 + 0.01 / 4) + evaluation)
    assert four.updates * four.update == one.updates * one.update


def test_update_is_timed_as_a_run_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[Any] = []

    update = Agent.update

    def noted(agent: Agent, batch: Batch, phase: Phase = "all") -> Metrics:
        order.append(phase)
        return update(agent, batch, phase)

    monkeypatch.setattr(Agent, "update", noted)
    monkeypatch.setattr(forecasts, "warm_up", lambda agent, batch: order.append("warm"))
    monkeypatch.setattr(forecasts, "seconds_per_call", lambda call, *_: call() and 1.0)
    spec = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))
    assert time_agent(spec, small_run(fast=False)).update == 1.0
    assert order == ["warm", "all"]


def test_random_agent_takes_no_updates() -> None:
    assert time_agent(SPEC, small_run(agent="random")).update == 0
