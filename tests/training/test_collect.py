"""Alignment from the environment to the batch: every element holds what belongs to its step."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamer.agents.make import make_agent
from dreamer.config import EnvConfig
from dreamer.envs.vector import VectorEnv
from dreamer.replay.feed import Prefetcher
from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import EpisodeStore
from dreamer.training.collect import Collector
from dreamer.training.episode_builder import EpisodeBuilder
from training.runs import config, same

REPEAT = 2
SAMPLES = Path(__file__).parents[1] / "envs"


def _collect(env: str, num_envs: int, directory: Path, random: bool) -> tuple[EpisodeStore, int]:
    """Ten or more episodes in a store, and the frames that were counted."""
    settings = config(env=env, num_envs=num_envs, action_repeat=REPEAT, time_limit=21)
    envs = VectorEnv(settings.environment, num_envs, seed=0)
    store, total = EpisodeStore(directory), 0
    collector = Collector(envs, make_agent(envs.spec, settings), num_envs, seed=0)
    while len(store) < 10:
        step = collector.step(random)
        total += step.frames
        for builder in step.finished:
            store.append(builder.episode())
    envs.close()
    return store, total


def _check_rows(rows: dict[str, np.ndarray], last: np.ndarray, terminating: bool) -> None:
    """Compare elements `(N, ...)` with what the counting environment says of itself in each.

    Frame n has reward n, shows n in red, and in green the action that led to it. `last` says where an
    episode ended.
    """
    count = rows["image"][:, 0, 0, 0].astype(int)
    first = rows["is_first"]
    assert np.array_equal(first, count == 0)
    assert not rows["action"][first].any()
    assert not rows["reward"][first].any()
    green = np.round(127.5 * (rows["action"][:, 0].astype(np.float64) + 1))
    assert np.array_equal(rows["image"][:, 0, 0, 1], green)
    # Each reward is the sum over the frames of the action: n - 1 and n, or n alone where the episode was cut.
    odd = count % REPEAT == 1
    expected = np.where(odd, count, 2 * count - 1)
    assert np.array_equal(rows["reward"][~first], expected[~first])
    assert np.array_equal(rows["discount"], np.where(last & terminating, 0, 1))
    assert not (odd & ~last).any()


@pytest.mark.parametrize(("num_envs", "random"), [(1, True), (1, False), (2, False)])
@pytest.mark.parametrize("env", ["toy:counting", "toy:terminating"])
def test_elements_of_an_episode_are_aligned(env: str, num_envs: int, random: bool, tmp_path: Path) -> None:
    store, frames = _collect(env, num_envs, tmp_path, random)
    terminating = env == "toy:terminating"
    episodes = [store.episode(i) for i in store.ids]
    ends = [int(e["image"][-1, 0, 0, 0]) for e in episodes]
    assert set(ends) == {21} if not terminating else min(ends) >= 3 and len(set(ends)) > 2
    for e in episodes:
        is_first, last = np.zeros((2, len(e["reward"])), bool)
        is_first[0] = last[-1] = True
        _check_rows({**e, "is_first": is_first}, last, terminating)
        assert (e["image"][..., 2] == e["image"][0, 0, 0, 2]).all()  # the number of the episode
    assert sum(ends) <= frames <= sum(ends) + num_envs * 21

    sampler = SequenceSampler(store, batch_size=20, batch_length=9)
    for batch in Prefetcher(sampler, "cpu").iterate(np.random.default_rng(0), 3):
        rows = {key: x.numpy() for key, x in batch.items()}
        starts = np.concatenate([rows["is_first"][:, 1:], np.zeros((20, 1), bool)], 1)
        last = starts | (rows["image"][..., 0, 0, 0] == 21) | (rows["discount"] == 0)
        flat = {key: x.reshape(-1, *x.shape[2:]) for key, x in rows.items()}
        _check_rows(flat, last.flatten(), terminating)
        count = rows["image"][..., 0, 0, 0].astype(int)
        follows = ~rows["is_first"][:, 1:]
        assert (np.diff(count, axis=1)[follows] > 0).all()


@pytest.mark.parametrize("name", ["ReusedScreen", "ReusedPicture"])
def test_observation_is_kept_when_the_environment_reuses_its_array(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    settings = config(env=f"gym:sample_environments:{name}-v0", action_repeat=1, image_size=64)
    envs = VectorEnv(settings.environment, 1, seed=0)
    collector = Collector(envs, make_agent(envs.spec, settings), 1, seed=0)
    finished: list[EpisodeBuilder] = []
    while not finished:
        finished = collector.step(random=True).finished
    assert finished[0].episode()["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    envs.close()


def test_actions_of_two_environments_do_not_mix(tmp_path: Path) -> None:
    """Each episode holds the actions of its own row."""
    settings = config(env="toy:counting", num_envs=2)
    envs = VectorEnv(settings.environment, 2, seed=0)
    collector = Collector(envs, make_agent(envs.spec, settings), 2, seed=0)
    for _ in range(3):
        collector.step(random=False)
    actions = collector.policy_state.action.numpy()
    for index, builder in enumerate(collector.builders):
        assert builder is not None
        assert np.array_equal(builder.episode()["action"][-1], actions[index])
    assert not np.array_equal(*actions)
    envs.close()


def _collector(seed: int = 0) -> Collector:
    settings = config(env="toy:dot", time_limit=10)
    envs = VectorEnv(settings.environment, 1, seed=0)
    return Collector(envs, make_agent(envs.spec, settings), 1, seed=seed)


def test_the_filter_state_is_reset_at_the_end_of_an_episode() -> None:
    collector = _collector()
    while not collector.step(random=False).finished:
        assert collector.policy_state.latent.stoch.any()
    assert not any(tensor.any() for tensor in collector.policy_state.tensors())


def test_collector_state_round_trip_in_the_middle_of_an_episode() -> None:
    one, other = _collector(), _collector(seed=1)
    for _ in range(8):
        one.step(random=False)
    other.seed = one.seed
    other.load_state_dict(one.state_dict())
    for random in (False, True, False):
        one.step(random)
        other.step(random)
        assert same(one.state_dict(), other.state_dict())


def test_simulator_that_does_not_repeat_itself_begins_a_new_episode(caplog: pytest.LogCaptureFixture) -> None:
    one, other = _collector(), _collector()
    for _ in range(2):
        one.step(random=True)
    state = one.state_dict()
    state["unfinished"][0]["image"][-1] += 1
    other.load_state_dict(state)
    assert "does not repeat its episode" in caplog.text
    assert other.builders == [None]
    assert other.episode_numbers[0] == one.episode_numbers[0] + 1


def test_acting_leaves_the_global_generators_alone() -> None:
    collector, before = _collector(), torch.random.get_rng_state()
    for random in (True, False):
        collector.step(random)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_episodes_differ_by_their_number_and_by_environment() -> None:
    envs = VectorEnv(EnvConfig(env="toy:dot", image_size=32), 1)
    collector = Collector(envs, make_agent(envs.spec, config()), 1, seed=0)
    starts = []
    for number in (0, 1, 2):
        collector.episode_numbers[0] = number
        starts.append(collector._begin(0).observation["image"])
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(starts))
