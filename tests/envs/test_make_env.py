"""The chain of wrappers: frames, rewards, ends, spaces, seeds and refusals."""

import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import EnvError, VectorEnv, make_env, spec_of
from dreamer.envs.gymnasium_env import known_ids
from dreamer.errors import UserError

COUNTING = EnvConfig(env="toy:counting", time_limit=7)
SAMPLE = EnvConfig(env="gym:sample_environments:Sample-v0", obs="state", action_repeat=1)


def sample(name: str, **settings) -> EnvConfig:
    return replace(SAMPLE, env=f"gym:sample_environments:{name}-v0", **settings)


def test_an_agent_step_sums_the_rewards_of_its_frames() -> None:
    env = make_env(replace(COUNTING, action_repeat=3))
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(np.array([1.0], np.float32))
    assert reward == 1 + 2 + 3
    assert info["frames"] == info["count"] == 3
    assert (observation["image"] == (3, 255, 0)).all()  # Frame 3, action 1, episode 0.


def test_the_time_limit_counts_frames_and_truncates_within_an_agent_step() -> None:
    env = make_env(replace(COUNTING, action_repeat=3))
    env.reset(seed=0)
    steps = [env.step(np.zeros(1, np.float32)) for _ in range(3)]
    assert [step[4]["frames"] for step in steps] == [3, 3, 1]
    assert [step[3] for step in steps] == [False, False, True]
    assert not any(step[2] for step in steps)


def test_an_end_of_the_environment_is_terminated_not_truncated() -> None:
    env = make_env(replace(SAMPLE, action_repeat=2))
    env.reset(seed=0)
    steps = [env.step(np.zeros(2, np.float32)) for _ in range(3)]
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (True, False)]
    assert [step[1] for step in steps] == [2, 2, 1]
    assert steps[-1][4]["frames"] == 1


def test_an_environments_own_time_limit_is_kept() -> None:
    env = make_env(sample("Short"))
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_one_image_is_drawn_per_agent_step(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env(replace(COUNTING, action_repeat=3))
    drawn = []
    picture = env.unwrapped.render
    monkeypatch.setattr(env.unwrapped, "render", lambda: drawn.append(1) or picture())
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    env.step(np.zeros(1, np.float32))
    assert len(drawn) == 3


def test_state_observations_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env(replace(COUNTING, obs="state"))
    monkeypatch.setattr(env.unwrapped, "render", lambda: pytest.fail("a picture was drawn"))
    assert list(env.reset(seed=0)[0]) == ["state"]
    assert env.step(np.zeros(1, np.float32))[0]["state"].dtype == np.float32


@pytest.mark.parametrize("name", ["toy:dot", "dmc:cartpole_swingup"])
def test_a_seed_decides_all_that_follows(name: str) -> None:
    def episode(seed: int) -> list:
        first = env.reset(seed=seed)[0]["state"]
        steps = [env.step(action) for action in actions[:3]]
        return [first.tolist(), *[(step[0]["state"].tolist(), *step[1:4]) for step in steps]]

    env = make_env(EnvConfig(env=name, obs="state", action_repeat=1), seed=5)
    size = spec_of(env).action.size
    actions = np.random.default_rng(0).uniform(-1, 1, (3, size)).astype(np.float32)
    first = episode(1)
    assert episode(1) == first
    assert any(episode(seed) != first for seed in (2, 3, 4))


@pytest.mark.parametrize("seed", [2**31 - 1, 2**31 + 5, 2**32 - 1, 2**40])
def test_seeds_that_reach_an_environment_fit_32_bits_with_a_sign(seed: int) -> None:
    env = make_env(sample("Seeded"), seed)
    env.reset(seed=seed)
    assert env.unwrapped.seeds == [seed % 2**31] * 2  # pyright: ignore[reportAttributeAccessIssue]


def test_resets_without_a_seed_follow_from_the_seed_of_make_env() -> None:
    def start(seed: int) -> list:
        env = make_env(EnvConfig(env="toy:dot", obs="state"), seed)
        return [env.reset()[0]["state"].tolist() for _ in range(2)]

    assert start(1) == start(1) != start(2)
    assert start(1)[0] != start(1)[1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (EnvConfig(env="walker_walk"), "did you mean dmc:walker_walk"),
        (EnvConfig(env="dmc:walker_wlak"), "did you mean dmc:walker_walk"),
        (EnvConfig(env="gym:Pendulm-v1"), "did you mean gym:Pendulum-v1"),
        (EnvConfig(env="gym:Ant-v9"), "did you mean gym:Ant-v5"),
        (EnvConfig(env="gym:sample_environments:Smple-v0"), "did you mean gym:sample_environments:Sample-v0"),
        (EnvConfig(env="sample_environments:Sample-v0"), "did you mean gym:sample_environments:Sample-v0?"),
        (EnvConfig(env="Pendulum-v1"), "did you mean gym:Pendulum-v1?"),
        (EnvConfig(env="ALE/Pong-v5"), "did you mean atari:pong?"),
        (EnvConfig(env="gym:ALE/Pongg-v5"), "did you mean atari:pong"),
        (EnvConfig(env="ALE/UpNDown-v5"), "did you mean atari:up_n_down?"),
        (EnvConfig(env="toy:dit"), "toy:dot"),
        (EnvConfig(env="gym:no_such_module:Thing-v0"), "no_such_module"),
        (EnvConfig(env="toy:dot", image_size=21), "--image-size is 21: it must be at least 22"),
        (EnvConfig(env="toy:dot", action_repeat=-1), "--action-repeat is -1"),
        (EnvConfig(env="toy:dot", time_limit=0), "--time-limit is 0"),
        (EnvConfig(env="dmc:walker_walk", camera=9), "has no camera 9"),
        (sample("Unbounded"), "which is unbounded: give every action a finite range"),
        (sample("TupleAction"), "only Box, Discrete"),
        (sample("Tiny", obs="image"), 'lists no rgb_array in metadata["render_modes"]: use --obs state'),
        (
            sample("Image", obs="render"),
            'lists no rgb_array in metadata["render_modes"]: use --obs image or --obs state',
        ),
        (
            sample("Everything", obs="joints,gears"),
            "shows front, gear, joints, wrist, and no gears: --obs must",
        ),
        (
            EnvConfig(env="dmc:walker_walk", env_args=("a=1",)),
            "dmc:walker_walk takes no --env-args: leave a=1 out",
        ),
        (EnvConfig(env="toy:dot", env_args=("a=1",)), "toy:dot takes no --env-args"),
        (
            sample("WithArguments", env_args=("robt=x",)),
            "'robt'; --env-args must be arguments of its __init__",
        ),
        (
            sample("Drawn", obs="image", env_args=("render_mode=human",)),
            "not human: leave render_mode out of --env-args",
        ),
        (sample("UnboundedImage"), "images must be (height, width, channels), uint8, or floats in [0, 1]"),
        (sample("UnboundedImage", obs="image"), "declare images as uint8, or floats in [0, 1], or add it"),
        (sample("Nothing"), "shows nothing: its observation space is Dict()"),
        (
            sample("Endless"),
            "has 1,000,000 numbers, more than 100,000: leave it out with --obs, or show less",
        ),
        (sample("EndlessButtons"), "1,000,000,000 are more than 100,000 actions"),
        (sample("WholeAction"), "must be a Box of floats that is not empty; MultiDiscrete is for integers"),
        (sample("FloatImage"), "use --obs image"),
        (sample("Image"), "use --obs image"),
        (sample("Sample", obs="image"), "use --obs state"),
    ],
    ids=lambda value: getattr(value, "env", None),
)
def test_what_does_not_fit_is_refused_in_one_sentence(config: EnvConfig, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make_env(config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ALE/Pong-v5", "Pong-v4", "PongNoFrameskip-v4", "Pong-ramDeterministic-v4"])
def test_gymnasium_ids_of_games_are_answered_with_the_game(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(gym.registry, name, raising=False)  # ale_py, once imported, registers some of them
    with pytest.raises(UserError, match=r"did you mean atari:pong\?"):
        make_env(EnvConfig(env=f"gym:{name}"))


def test_suggested_gymnasium_ids_are_newest_and_need_no_other_library() -> None:
    ids = known_ids()
    assert {"Ant-v5", "Pendulum-v1", "LunarLander-v3"} <= {*ids}
    assert not {"Ant-v3", "CartPole-v0", "phys2d/CartPole-v1", "GymV21Environment-v0"} & {*ids}


def test_a_first_reset_that_fails_is_tried_with_another_seed() -> None:
    env = make_env(sample("DislikesASeed"), seed=7)
    assert env.reset(seed=8)[0]["state"].shape == (3,)
    with pytest.raises(EnvError, match="raised OSError in reset: the objects collide"):
        env.reset(seed=7)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WrongShape", "has shape (4,) where (3,) is declared"),
        ("NanObservation", "NaN or infinity"),
        ("NanReward", "the reward nan"),
    ],
)
def test_a_bad_step_is_caught_when_it_happens(name: str, words: str) -> None:
    env = make_env(sample(name))
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    with pytest.raises(UserError) as caught:
        env.step(np.zeros(2, np.float32))
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_importing_the_package_loads_no_simulator() -> None:
    program = "import sys, dreamer.envs; print({'mujoco', 'dm_control', 'OpenGL', 'torch'} & {*sys.modules})"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("workers", [False, True])
def test_arguments_reach_the_environment(workers: bool) -> None:
    envs = VectorEnv(sample("WithArguments", env_args=("robot=Fetch", "speed=2.5")), workers=workers)
    assert envs.reset(0, seed=0)["state"].tolist() == [5, 2.5]
    envs.close()
