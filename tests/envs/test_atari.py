"""Atari games: pictures, lives, idle frames, repeats, and that all follows from the seed."""

import dataclasses
import itertools

import numpy as np
import pytest

pytest.importorskip("ale_py")

from dreamer.config import EnvConfig, evaluated
from dreamer.envs import make_env, spec_of
from dreamer.envs.atari import load_atari
from dreamer.errors import UserError

PONG = EnvConfig(env="atari:pong", action_repeat=4, time_limit=108_000, image_size=64)
BREAKOUT = dataclasses.replace(PONG, env="atari:breakout", env_args=("sticky=0",))
NO_LUCK = dataclasses.replace(PONG, env_args=("sticky=0",))


@pytest.fixture(autouse=True)
def _no_idle_frames(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("idle"):
        monkeypatch.setattr("dreamer.envs.atari.LONGEST_IDLE", 0)


@pytest.mark.parametrize(("gray", "channels"), [(False, 3), (True, 1)])
def test_pictures_and_buttons(gray, channels) -> None:
    env = make_env(dataclasses.replace(PONG, env_args=(f"gray={gray}",)))
    spec = spec_of(env)
    assert spec.images == {"image": (64, 64, channels)}
    assert spec.action.groups == (6,)
    observation, _ = env.reset(seed=0)
    assert observation["image"].shape == (64, 64, channels)
    assert observation["image"].std() > 5
    _, _, _, _, info = env.step(np.eye(6, dtype=np.float32)[2])
    assert info["frames"] == 4
    env.close()


def play(config: EnvConfig, seed: int, frames: int) -> list[np.ndarray]:
    env, random = load_atari(config.env.split(":")[1], config), np.random.default_rng(0)
    pictures = [env.reset(seed=seed)[0]]
    pictures += [env.step(int(random.integers(4)))[0] for _ in range(frames)]
    env.close()
    return pictures


def test_everything_follows_from_the_seed() -> None:
    first, again, other = play(PONG, 5, 80), play(PONG, 5, 80), play(PONG, 6, 80)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_sticky_actions_make_the_game_depend_on_the_seed() -> None:
    same = [play(NO_LUCK, seed, 80)[-1] for seed in (1, 2)]
    different = [play(PONG, seed, 80) for seed in (1, 2)]
    assert np.array_equal(same[0], same[1])
    assert not all(np.array_equal(a, b) for a, b in zip(*different, strict=True))


@pytest.mark.idle
def test_idle_frames_at_the_start() -> None:
    env, counts = load_atari("pong", NO_LUCK), set()
    for seed in range(14):
        env.reset(seed=seed)
        counts.add(env._game.ale.getEpisodeFrameNumber())
    assert min(counts) >= 1
    assert max(counts) <= 30
    assert len(counts) > 5
    env.close()


@pytest.mark.idle
def test_a_game_that_ends_while_idle_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    env = load_atari("pong", NO_LUCK)
    step, lengths = env._game.step, []

    def ends_in_its_third_frame(action: int):
        screen, reward, _, truncated, info = step(action)
        lengths.append(env._game.ale.getEpisodeFrameNumber())
        return screen, reward, lengths[-1] == 3, truncated, info

    monkeypatch.setattr(env._game, "step", ends_in_its_third_frame)
    for seed in range(3):
        env.reset(seed=seed)
    assert len(lengths) > 3
    assert max(lengths) == 3
    env.close()


def test_shows_the_larger_of_two_frames() -> None:
    env = load_atari("pong", NO_LUCK)
    screens = [env.reset(seed=0)[0]]
    for _ in range(60):
        shown = env.step(1)[0]
        screens.append(env._game.ale.getScreenRGB())
        assert np.array_equal(shown, np.maximum(screens[-1], screens[-2]))
    assert any(not np.array_equal(a, b) for a, b in itertools.pairwise(screens))
    env.close()


def episode_lives(config: EnvConfig) -> tuple[int, int]:
    """Lives at the start and at the end of an episode of pressing `fire` alone."""
    env = load_atari("breakout", config)
    _, info = env.reset(seed=0)
    start, done = info["lives"], False
    while not done:
        _, _, done, _, info = env.step(1)
    env.close()
    return start, info["lives"]


def test_a_lost_life_ends_training_episodes_only() -> None:
    assert episode_lives(BREAKOUT) == (5, 4)
    assert episode_lives(evaluated(BREAKOUT)) == (5, 0)


def test_unknown_games_and_state_vectors_are_refused() -> None:
    with pytest.raises(UserError, match=r"pongg.*did you mean atari:pong"):
        make_env(dataclasses.replace(PONG, env="atari:pongg"))
    with pytest.raises(UserError, match="--obs image"):
        make_env(dataclasses.replace(PONG, obs="state"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("sticky=1.5", "sticky must be a number from 0 to 1, got 1.5"),
        ("gray=2", "gray must be True or False, got 2"),
        ("life_loss=maybe", "life_loss must be True or False, got 'maybe'"),
        ("stickiness=0", "stickiness: atari:pong takes gray, sticky, life_loss, mode"),
    ],
)
def test_arguments_that_a_game_cannot_have_are_refused(arguments: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_atari("pong", dataclasses.replace(PONG, env_args=(arguments,)))


def test_settings_of_the_emulator_reach_it() -> None:
    env = load_atari("pong", dataclasses.replace(PONG, env_args=("difficulty=1", "full_action_space=True")))
    assert env.action_space.n == 18  # pyright: ignore[reportAttributeAccessIssue]
    env.close()
