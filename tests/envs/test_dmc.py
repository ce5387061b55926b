"""The Control Suite: every task, every seed, and the paper's choices."""

import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import make_env, spec_of
from dreamer.envs.dmc import import_suite
from dreamer.errors import UserError

STATE = {"obs": "state", "action_repeat": 2}
TASKS = [f"{domain}_{task}" for domain, task in import_suite().ALL_TASKS]
# One of each way to draw a start: poses, targets, models changed at reset, terrain, random models.
SOME = [
    "acrobot_swingup",
    "ball_in_cup_catch",
    "cheetah_run",
    "finger_turn_hard",
    "fish_swim",
    "hopper_hop",
    "lqr_lqr_2_1",
    "manipulator_bring_ball",
    "point_mass_hard",
    "quadruped_escape",
    "reacher_easy",
    "walker_walk",
]
MARKED = [task if task in SOME else pytest.param(task, marks=pytest.mark.slow) for task in TASKS]


def rollout(env, seed: int, steps: int) -> list[np.ndarray]:
    """Observations and rewards under random actions that depend on nothing else."""
    generator = np.random.default_rng(0)
    size = spec_of(env).action.size
    seen = [env.reset(seed=seed)[0]["state"]]
    for _ in range(steps):
        observation, reward, *_ = env.step(generator.uniform(-1, 1, size).astype(np.float32))
        seen += [observation["state"], np.float64(reward)]
    return seen


@pytest.mark.parametrize("task", MARKED)
def test_all_is_a_function_of_the_seed_bit_by_bit(task: str) -> None:
    config = EnvConfig(env=f"dmc:{task}", **STATE)
    first, second = make_env(config, seed=1), make_env(config, seed=2)
    expected = rollout(first, seed=3, steps=5)
    rollout(second, seed=4, steps=3)  # What was done before must leave no trace.
    for env in (first, second):
        for got, wanted in zip(rollout(env, seed=3, steps=5), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    other = np.concatenate([rollout(first, seed=seed, steps=1)[1] for seed in (5, 6)])
    assert (other != np.concatenate([expected[1]] * 2)).any()
    first.close()
    second.close()


def test_names_with_several_underscores_and_the_alias() -> None:
    assert "ball_in_cup_catch" in TASKS
    sizes = {"cup_catch": 2, "ball_in_cup_catch": 2, "point_mass_easy": 2, "humanoid_CMU_run": 56}
    for name, size in sizes.items():
        env = make_env(EnvConfig(env=f"dmc:{name}", **STATE))
        assert spec_of(env).action.size == size
        env.close()


def test_an_episode_is_a_thousand_frames_and_truncated() -> None:
    env = make_env(EnvConfig(env="dmc:cartpole_balance", **STATE))
    env.reset(seed=0)
    frames, truncated = 0, False
    while not truncated:
        _, _, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        frames += info["frames"]
        assert not terminated
    assert frames == 1000


def test_an_end_with_discount_0_is_terminated() -> None:
    env = make_env(EnvConfig(env="dmc:lqr_lqr_2_1", **STATE))
    env.reset(seed=0)
    physics = env.get_wrapper_attr("_env").physics
    with physics.reset_context():  # At rest in the origin the task is done.
        physics.data.qpos[:] = physics.data.qvel[:] = 0
    assert env.step(np.zeros(1, np.float32))[2:4] == (True, False)


def test_the_frames_and_rewards_are_the_suites_own() -> None:
    env = make_env(EnvConfig(env="dmc:walker_walk", **STATE))
    ours = env.reset(seed=5)[0]["state"]
    theirs = import_suite().load("walker", "walk", {"random": np.random.RandomState(5)})
    generator = np.random.default_rng(0)
    step = theirs.reset()
    for _ in range(20):
        wanted = np.concatenate([np.ravel(part) for part in step.observation.values()])
        np.testing.assert_array_equal(ours, wanted.astype(np.float32))
        action = generator.uniform(-1, 1, 6).astype(np.float32)
        observation, reward, *_ = env.step(action)
        ours = observation["state"]
        rewards = []
        for _ in range(2):
            step = theirs.step(action)
            rewards.append(step.reward)
        assert reward == sum(rewards)


def test_a_mujoco_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class MjModel:
        """As newer releases have it, without a part."""

    def load(*_: object) -> None:
        getattr(MjModel(), "flex_evpair")  # noqa: B009 (pyright knows that it is not there)

    monkeypatch.setattr(import_suite(), "load", load)
    with pytest.raises(
        UserError, match=r"MuJoCo \S+ and dm-control \S+ do not fit each other .*pip install -U"
    ):
        make_env(EnvConfig(env="dmc:walker_walk"))
