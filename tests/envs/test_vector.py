"""Environments side by side: the same results in processes, and no silent end of one."""

import importlib
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import EnvError, StepResult, VectorEnv
from dreamer.envs.worker import give_up_reading_after
from dreamer.errors import UserError


def sample(name: str, **settings) -> EnvConfig:
    return EnvConfig(
        env=f"gym:sample_environments:{name}-v0", obs="state", action_repeat=1, worker_timeout=60, **settings
    )


def sound(results: list[StepResult | EnvError]) -> list[StepResult]:
    """Return the results, if no environment failed."""
    assert not any(isinstance(result, EnvError) for result in results)
    return [result for result in results if isinstance(result, StepResult)]


def test_processes_give_what_this_process_gives() -> None:
    config = EnvConfig(env="toy:dot", time_limit=4)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 2, 2)).astype(np.float32)
    several = VectorEnv(config, 2)
    starts = [several.reset(index, seed=7 + index) for index in range(2)]
    steps = [sound(several.step(action)) for action in actions]
    several.close()
    for index in range(2):
        single = VectorEnv(config)
        assert single.spec == several.spec
        np.testing.assert_array_equal(single.reset(0, seed=7 + index)["image"], starts[index]["image"])
        alone, results = None, []
        for action, results in zip(actions, steps, strict=True):
            [alone] = sound(single.step(action[index : index + 1]))
            np.testing.assert_array_equal(alone.observation["image"], results[index].observation["image"])
            assert alone.reward == results[index].reward
            assert alone.frames == results[index].frames == 2
        assert alone is not None
        assert alone.truncated
        assert results[index].truncated
        assert not results[index].terminated
        single.close()


def test_environments_must_all_be_alike() -> None:
    with pytest.raises(EnvError, match="shows or takes something else each time it is made") as caught:
        VectorEnv(sample("OtherEachTime"), 2)
    assert not caught.value.passing


def test_one_environment_may_live_in_a_process_too() -> None:
    config = EnvConfig(env="toy:dot", time_limit=4)
    single, worker = VectorEnv(config, seed=3), VectorEnv(config, seed=3, workers=True)
    assert len(worker._workers) == 1
    here, there = (envs.reset(0, seed=7)["image"] for envs in (single, worker))
    np.testing.assert_array_equal(here, there)
    action = np.ones((1, 2), np.float32)
    here, there = (sound(envs.step(action))[0] for envs in (single, worker))
    np.testing.assert_array_equal(here.observation["image"], there.observation["image"])
    assert here.reward == there.reward
    worker._workers[0]._process.kill()
    with pytest.raises(EnvError, match=r"environment 0 \(toy:dot\) was killed"):
        worker.step_one(0, action[0])
    worker.close()


def test_one_environment_is_reset_while_the_others_go_on() -> None:
    envs = VectorEnv(EnvConfig(env="toy:counting", obs="state", action_repeat=1), 2)
    for index in range(2):
        envs.reset(index, seed=0)
    envs.step(np.zeros((2, 1), np.float32))
    envs.reset(1, seed=0)
    counts = [result.observation["state"][0] for result in sound(envs.step(np.zeros((2, 1), np.float32)))]
    assert counts == [2, 1]
    envs.close()
    envs.close()


def failures(config: EnvConfig) -> list[str]:
    """Take two steps, the second of which must fail in both environments; return the messages."""
    envs = VectorEnv(config, 2)
    processes = [worker._process for worker in envs._workers]
    for index in range(2):
        envs.reset(index, seed=0)
    envs.step(np.zeros((2, 2), np.float32))
    results = envs.step(np.zeros((2, 2), np.float32))
    assert all(process.poll() is not None for process in processes), "a worker was left running"
    envs.close()
    return [str(result) for result in results if isinstance(result, EnvError) and result.passing]


def test_an_exception_in_a_worker_is_told_with_its_cause() -> None:
    messages = failures(sample("Raises"))
    for index, message in enumerate(messages):
        assert message.startswith(f"Environment {index} (gym:sample_environments:Raises-v0, 2 in parallel)")
        assert "raised ZeroDivisionError in step: division by zero" in message
        assert "sample_environments.py, line" in message
    assert len(messages) == 2


def test_a_users_mistake_keeps_its_sentence() -> None:
    assert "the reward nan" in failures(sample("NanReward"))[0]


def test_a_worker_that_exits_is_told_with_its_code() -> None:
    assert "ended with exit code 3 in step" in failures(sample("Exits"))[1]


@pytest.mark.parametrize("workers", [False, True])
def test_an_environment_that_failed_is_made_anew_at_its_reset(workers: bool) -> None:
    envs = VectorEnv(sample("Raises"), workers=workers)
    for _ in range(2):
        envs.reset(0, seed=0)
        envs.step_one(0, np.zeros(2, np.float32))
        with pytest.raises(EnvError, match="division by zero"):
            envs.step_one(0, np.zeros(2, np.float32))
    envs.close()


def test_the_others_do_not_notice_a_failure() -> None:
    envs = VectorEnv(EnvConfig(env="toy:counting", obs="state", action_repeat=1), 2)
    for index in range(2):
        envs.reset(index, seed=0)
    envs._workers[0]._process.kill()
    failed, other = envs.step(np.zeros((2, 1), np.float32))
    assert isinstance(failed, EnvError)
    assert isinstance(other, StepResult)
    envs.reset(0, seed=0)
    again, other = sound(envs.step(np.zeros((2, 1), np.float32)))
    assert (again.observation["state"][0], other.observation["state"][0]) == (1, 2)
    envs.close()


def test_a_silent_worker_is_stopped() -> None:
    config = sample("Hangs")
    envs = VectorEnv(config, 2)
    processes = [worker._process for worker in envs._workers]
    for index in range(2):
        envs.reset(index, seed=0)
    envs.step(np.zeros((2, 2), np.float32))
    envs._timeout = 0.5  # Only now: starting the processes may take longer on a busy machine.
    start = time.monotonic()
    for index, failure in enumerate(envs.step(np.zeros((2, 2), np.float32))):
        assert isinstance(failure, EnvError)
        assert f"Environment {index} " in str(failure)
        assert "silent for 0.5 s in step" in str(failure)
    assert time.monotonic() - start < 30
    assert all(process.poll() is not None for process in processes)


def test_a_worker_that_stalls_within_an_answer_is_stopped() -> None:
    envs = VectorEnv(sample("Stalls"), workers=True)
    process = envs._workers[0]._process
    envs.reset(0, seed=0)
    envs.step(np.zeros((1, 2), np.float32))
    connection = socket.socket(fileno=os.dup(envs._workers[0].connection.fileno()))
    with connection:  # Only now: starting the process may take longer on a busy machine.
        give_up_reading_after(0.5, connection)
    start = time.monotonic()
    with pytest.raises(EnvError, match=r"0 .* was silent for .* in step and was stopped"):
        envs.step_one(0, np.zeros(2, np.float32))
    assert time.monotonic() - start < 30
    assert process.poll() is not None


def test_what_lies_beside_the_user_does_not_stand_in_for_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "socket", "mujoco"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    envs = VectorEnv(sample("Sample"), workers=True)
    assert envs.reset(0, seed=0)["state"].shape == (3,)
    envs.close()


def test_a_killed_worker_is_told_with_its_signal() -> None:
    envs = VectorEnv(sample("Sample"), 2)
    for index in range(2):
        envs.reset(index, seed=0)
    killed = envs._workers[1]._process
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    failure = envs.step(np.zeros((2, 2), np.float32))[1]
    assert isinstance(failure, EnvError)
    assert re.search(r"environment 1 .* killed by SIGKILL", str(failure))
    envs.close()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch):
    """Return a function that registers an environment for one test, under the id `Here-v0`."""

    def register(entry_point) -> EnvConfig:
        monkeypatch.delitem(gym.registry, "Here-v0", raising=False)
        gym.register("Here-v0", entry_point, max_episode_steps=2)
        monkeypatch.setitem(gym.registry, "Here-v0", gym.registry.pop("Here-v0"))
        return EnvConfig(env="gym:Here-v0", obs="state", action_repeat=1, worker_timeout=60)

    return register


@pytest.mark.parametrize("as_class", [False, True])
def test_a_registration_travels_to_worker_processes(registered, as_class: bool) -> None:
    entry_point = importlib.import_module("sample_environments").SampleEnv
    envs = VectorEnv(registered(entry_point if as_class else "sample_environments:SampleEnv"), 2)
    for index in range(2):
        envs.reset(index, seed=0)
    envs.step(np.zeros((2, 2), np.float32))
    assert all(result.truncated for result in sound(envs.step(np.zeros((2, 2), np.float32))))
    envs.close()


def test_an_environment_of_the_running_script_is_told_from_a_misspelled_one(registered) -> None:
    entry_point = importlib.import_module("sample_environments").SampleEnv
    message = r"registered in the running script, .* name it gym:MODULE:Here-v0, or take --num-envs 1"
    with pytest.raises(UserError, match=message):
        VectorEnv(registered(lambda **_: entry_point()), 2)
    with pytest.raises(UserError, match=message):
        VectorEnv(registered("__main__:SampleEnv"), 2)


def test_no_environment_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="--num-envs is 0"):
        VectorEnv(sample("Sample"), 0)


def test_an_environment_that_cannot_be_made_is_refused_in_a_worker_too() -> None:
    with pytest.raises(UserError, match="which is unbounded"):
        VectorEnv(sample("Unbounded"), 2)
