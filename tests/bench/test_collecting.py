import pytest
import torch

from bench.small import TIMER, small_run
from dreamer.agents.make import make_agent
from dreamer.bench.collecting import acting, environment, environment_spec, replay, seconds_per_step
from dreamer.types import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))


@pytest.mark.parametrize("kind", ["dreamer", "planet"])
def test_action_of_every_environment(kind: str) -> None:
    found = acting(TIMER, make_agent(SPEC, small_run(agent=kind)), 3)
    assert found.name == "agent step"
    assert found.median > 0


def test_steps_of_one_environment_and_of_all() -> None:
    names = [m.name for m in environment(TIMER, small_run(num_envs=2).environment)]
    assert names == ["step", "step of all 2"]


@pytest.mark.render
def test_step_without_an_image() -> None:
    config = small_run(env="dmc:cartpole_balance").environment
    step, physics = environment(TIMER, config)
    assert (step.name, physics.name) == ("step", "step without an image")


def test_stepping_goes_on_after_the_end_of_an_episode() -> None:
    config = small_run(time_limit=4).environment  # two agent steps
    assert 0 < seconds_per_step(config) < 1


def test_environment_spec() -> None:
    assert environment_spec(small_run().environment).images == {"image": (32, 32, 3)}


@pytest.mark.parametrize("where", ["disk", "device"])
def test_batches_of_the_replay(where: str) -> None:
    config = small_run(replay_device=where)
    found = list(replay(TIMER, make_agent(SPEC, config), config))
    assert [m.name for m in found] == ["batch drawn", "batch on the device"]
    assert all(m.median > 0 for m in found)


def test_replay_reports_the_errors_of_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dreamer.replay.sampler.SequenceSampler.sample", lambda *_: torch.zeros(2) @ torch.zeros(3)
    )
    with pytest.raises(RuntimeError):
        list(replay(TIMER, make_agent(SPEC, small_run()), small_run()))
