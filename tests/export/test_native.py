"""An exported policy takes what the environment returns, and returns what it takes, as the wrappers do in training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs.make import make_env
from dreamer.envs.native import describe, space_from
from dreamer.envs.spec import spec_of
from dreamer.errors import UserError
from dreamer.export.policy import Policy, load_policy, pack
from helpers import IMAGE, small_agent, small_config

SAMPLES = {"Sample": "state", "Buttons": "state", "Panel": "state", "Image": "image", "Everything": "image"}
SAMPLES |= {"Gray": "image", "FloatImage": "image", "Everything ": "state"}
SAMPLES |= {
    "Switches": "state",
    "Grid": "state",
    "ChannelsFirst": "image",
    "FrameStack": "image",
    "Masks": "image",
}


@pytest.fixture(autouse=True)
def _sample_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "envs"))


def policy_of(config: EnvConfig, path: Path) -> tuple[Policy, gym.Env]:
    """A policy for this environment, read from a file, and the environment as in training."""
    env = make_env(config)
    settings = {"env": config.env, "obs": config.obs, "image_size": config.image_size}
    torch.save(pack(small_agent(spec_of(env), **settings)), path / "policy.pt")
    return load_policy(path / "policy.pt"), env


@pytest.mark.parametrize(("sample", "obs"), SAMPLES.items())
def test_policy_and_environment_fit_each_other(sample: str, obs: Any, tmp_path: Path) -> None:
    name = f"sample_environments:{sample.strip()}-v0"
    policy, wrapped = policy_of(
        EnvConfig(env=f"gym:{name}", obs=obs, image_size=32, action_repeat=1), tmp_path
    )
    raw_policy, plain = load_policy(tmp_path / "policy.pt"), gym.make(name)
    seen, _ = wrapped.reset(seed=3)
    shown, _ = plain.reset(seed=3)
    for _ in range(4):
        action = policy.act(shown)
        assert plain.action_space.contains(action)
        seen, *_ = wrapped.step(raw_policy.act(seen, raw=True))
        assert np.array_equal(action, wrapped.unwrapped.last_action)  # pyright: ignore[reportAttributeAccessIssue]
        shown, *_ = plain.step(action)


def test_pictures_of_any_size_are_resized(tmp_path: Path) -> None:
    config = EnvConfig(env="gym:sample_environments:Drawn-v0", image_size=32, action_repeat=1)
    policy, wrapped = policy_of(config, tmp_path)
    raw_policy, plain = load_policy(tmp_path / "policy.pt"), gym.make(config.env[4:], render_mode="rgb_array")
    seen, _ = wrapped.reset(seed=0)
    plain.reset(seed=0)
    action = policy.act(plain.unwrapped.render())  # 100 x 60
    wrapped.step(raw_policy.act(seen, raw=True))
    assert np.array_equal(action, wrapped.unwrapped.last_action)  # pyright: ignore[reportAttributeAccessIssue]
    assert policy.act(np.zeros((240, 320, 3), np.uint8)).shape == (2,)
    assert policy.act({"image": np.ones((48, 48, 3), np.float64)}).shape == (2,)
    with pytest.raises(UserError, match="3 channels"):
        policy.act(np.zeros((64, 64, 4), np.uint8))


def test_actions_of_several_environments(tmp_path: Path) -> None:
    policy, _ = policy_of(EnvConfig(env="gym:sample_environments:Panel-v0", obs="state"), tmp_path)
    several = gym.make_vec("sample_environments:Panel-v0", num_envs=3, vectorization_mode="sync")
    actions = policy.act(several.reset(seed=0)[0])
    assert actions.shape == (3, 2)
    several.step(actions)
    assert policy.action_repeat == 2


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "abc",
        np.zeros((0, 3)),
        np.zeros((2, 2, 3)),
        [[1.0], [1.0, 2.0]],
        [0.0, 0.0, np.nan],
        {"state": None},
    ],
)
def test_what_is_no_observation_is_a_sentence(wrong: Any, tmp_path: Path) -> None:
    policy, _ = policy_of(EnvConfig(env="gym:sample_environments:Sample-v0", obs="state"), tmp_path)
    with pytest.raises(UserError, match="The observation 'state'"):
        policy.act(wrong)
    assert policy.act(np.zeros(3)).shape == (2,)


@pytest.mark.parametrize("wrong", [None, np.zeros((0, 32, 32, 3), np.uint8), np.zeros((2, 2), np.uint8)])
def test_what_is_no_picture_is_a_sentence(wrong: Any) -> None:
    with pytest.raises(UserError, match="The observation 'image'"):
        Policy(IMAGE, small_config()).act(wrong)


def test_nested_observations_are_found_by_their_path() -> None:
    spec = replace(IMAGE, images={}, vectors={"robot/arm": 2, "robot/hand/grip": 1})
    config = small_config()
    policy, flat = Policy(spec, config), Policy(spec, config)
    arm, grip = np.zeros(2), np.zeros(1)
    nested = {"robot": {"arm": arm, "hand": {"grip": grip}}, "mission": "go"}
    assert np.array_equal(policy.act(nested), flat.act({"robot/arm": arm, "robot/hand/grip": grip}))
    with pytest.raises(UserError, match="'robot/arm' is missing: there are robot"):
        policy.act({"robot": {"leg": arm}})
    with pytest.raises(UserError, match="several things"):
        policy.act(arm)


def test_file_without_spaces_acts_in_the_agents_own_form(tmp_path: Path) -> None:
    policy, _ = policy_of(EnvConfig(env="gym:sample_environments:Buttons-v0", obs="state"), tmp_path)
    content = torch.load(tmp_path / "policy.pt", weights_only=True)
    del content["spec"]["spaces"], content["checksum"]
    torch.save(content, tmp_path / "old.pt")
    old, state = load_policy(tmp_path / "old.pt"), np.zeros(3, np.float32)
    assert np.array_equal(old.act(state), load_policy(tmp_path / "policy.pt").act(state, raw=True))
    assert policy.act(state) in (5, 6, 7)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.Box(np.array([0.0, -np.inf]), np.array([1.0, 5.5]), dtype=np.float64),
        spaces.Box(0, 255, (2, 3), np.uint8),
        spaces.Discrete(4, start=-1),
        spaces.MultiDiscrete([2, 3], start=[1, 0]),
        spaces.MultiBinary(4),
    ],
)
def test_space_round_trip_in_plain_values(space: gym.Space) -> None:
    plain = describe(space)
    assert plain
    assert space_from(json.loads(json.dumps(plain))) == space
