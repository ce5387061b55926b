import pytest

from dreamer.config import Config, with_options
from dreamer.envs import ActionSpec, EnvSpec
from dreamer.results.forecast import bytes_per_decision, forecast
from dreamer.results.timing import AgentCost

SPEC = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(6))
AGENT = AgentCost(update=0.5, action=0.01, checkpoint=1000)


def config(**options):
    return with_options(Config(), {"steps": 105_000, **options})


def test_bytes_of_a_decision():
    assert bytes_per_decision(SPEC) == 64 * 64 * 3 + 4 * (6 + 1 + 1)
    assert bytes_per_decision(EnvSpec({}, {"state": 10}, ActionSpec(1))) == 4 * (10 + 1 + 1 + 1)


def test_one_environment():
    expected = forecast(config(eval_every=0), SPEC, AGENT, seconds_per_decision=0.03, cores=2)
    assert (
        expected.updates == 101 * 100
    )  # a first round, and one for each 1000 frames after the 5000 random ones
    assert expected.learning == pytest.approx(10_100 * 0.5 / 3600)
    decisions = (105_000 + 10 * 1000) / 2  # the final evaluation has ten episodes
    assert expected.hours == pytest.approx(expected.learning + decisions * 0.04 / 3600)
    assert expected.disk == 52_500 * (12_288 + 32) + 2 * 1000


def test_evaluations_cost_time():
    without = forecast(config(eval_every=0), SPEC, AGENT, 0.03, cores=2)
    every = forecast(config(eval_every=10_000, eval_episodes=2), SPEC, AGENT, 0.03, cores=2)
    assert every.hours - without.hours == pytest.approx(10 * 2 * 500 * 0.04 / 3600)


def test_several_environments_share_the_cores():
    one = forecast(config(eval_every=0), SPEC, AGENT, 0.03, cores=2)
    four = forecast(config(eval_every=0, num_envs=4), SPEC, AGENT, 0.03, cores=2)
    evaluation = 10 * 500 * 0.04  # the last one, in a single environment
    assert four.hours - four.learning == pytest.approx((52_500 * (0.03 / 2 + 0.01 / 4) + evaluation) / 3600)
    assert four.learning == one.learning


def test_capacity_bounds_the_disk():
    assert forecast(config(replay_size=1000), SPEC, AGENT, 0.03, 2).disk == 1000 * 12_320 + 2000
