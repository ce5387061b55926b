"""Evaluation: whole episodes, a function of the seed and the weights, and without a trace in training."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.envs.vector import VectorEnv
from dreamer.training.evaluate import Evaluation, StoppedError, evaluate
from training.runs import config, same


def _play(
    seed: int, env: str = "toy:dot", episodes: int = 3, video: bool = False
) -> tuple[Evaluation, Agent]:
    settings = config(env=env, time_limit=20)
    envs = VectorEnv(settings.environment, 1)
    agent = make_agent(envs.spec, settings)
    return evaluate(agent, envs, episodes, seed, video), agent


def test_evaluation_is_a_function_of_the_seed() -> None:
    one, other = _play(0)[0], _play(1)[0]
    assert one.returns == _play(0)[0].returns
    assert one.returns != other.returns
    assert len(set(one.returns)) == 3


def test_first_episodes_do_not_depend_on_the_number_of_episodes() -> None:
    assert _play(0, episodes=2)[0].returns == _play(0, episodes=3)[0].returns[:2]


def test_returns_are_undiscounted_sums_over_whole_episodes() -> None:
    result, _ = _play(0, env="toy:counting")
    assert result.returns == [20 * 21 / 2] * 3
    assert result.lengths == [10] * 3


def test_an_episode_ends_where_the_environment_terminates() -> None:
    result, _ = _play(0, env="toy:terminating", episodes=5)
    assert len(set(result.lengths)) > 1
    assert max(result.lengths) <= 6


def test_images_are_those_of_the_first_episode() -> None:
    result, _ = _play(0, env="toy:counting", video=True)
    assert result.images is not None
    assert result.images.dtype == np.uint8
    assert result.images[:, 0, 0, 0].tolist() == list(range(0, 20, 2))


@pytest.mark.parametrize("name", ["ReusedScreen", "ReusedPicture"])
def test_images_survive_arrays_that_the_environment_reuses(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "envs"))
    settings = config(env=f"gym:sample_environments:{name}-v0", action_repeat=1, image_size=64)
    envs = VectorEnv(settings.environment, 1)
    result = evaluate(make_agent(envs.spec, settings), envs, episodes=1, seed=0, video=True)
    assert result.images is not None
    assert result.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_gray_images_get_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "envs"))
    settings = config(env="gym:sample_environments:ReusedGrey-v0", action_repeat=1, image_size=64)
    envs = VectorEnv(settings.environment, 1)
    result = evaluate(make_agent(envs.spec, settings), envs, episodes=1, seed=0, video=True)
    assert result.images is not None
    assert result.images.shape == (5, 64, 64, 3)


def test_evaluation_stops_between_two_agent_steps() -> None:
    settings = config(env="toy:counting", time_limit=20)
    envs, asked = VectorEnv(settings.environment, 1), itertools.count(1)
    agent = make_agent(envs.spec, settings)
    with pytest.raises(StoppedError):
        evaluate(agent, envs, episodes=3, seed=0, stop=lambda: next(asked) == 4)
    assert envs.step_one(0, np.zeros(1, np.float32)).reward == 7 + 8  # three agent steps of two frames before


def test_evaluation_changes_neither_agent_nor_global_generators() -> None:
    before = torch.random.get_rng_state()
    fresh = make_agent(VectorEnv(config().environment).spec, config(time_limit=20))
    _, agent = _play(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(fresh.state_dict(), agent.state_dict())
