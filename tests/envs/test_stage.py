"""Episodes that are played again to be looked at."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs.make import make_env
from dreamer.envs.stage import SIZE, Stage
from dreamer.errors import UserError


def _episode(config: EnvConfig, seed: int, steps: int) -> tuple[list[np.ndarray], float]:
    """Random actions in the environment as the agent sees it, and their return."""
    with closing(make_env(config)) as env:
        env.reset(seed=seed)
        env.action_space.seed(seed)
        actions = [env.action_space.sample() for _ in range(steps)]
        return actions, sum(float(env.step(action)[1]) for action in actions)


@pytest.mark.parametrize("obs", ["image", "state"])
def test_episode_is_that_of_the_agent_at_another_size(obs: str) -> None:
    config = EnvConfig("toy:slope", obs=obs, image_size=32)
    actions, total = _episode(config, 3, 10)
    with closing(Stage(config)) as stage:
        pictures, again = stage.play(3, actions)
    assert pictures.shape == (10, SIZE, SIZE, 3)
    assert again == pytest.approx(total)


@pytest.mark.render
@pytest.mark.parametrize(
    ("env", "size", "speed"),
    [
        ("dmc:cartpole_balance", (SIZE, SIZE, 3), 50),  # 10 ms a frame, two in a step
        ("gym:Pendulum-v1", (500, 500, 3), 15),  # Gymnasium says 30 frames a second
    ],
)
def test_pictures_have_the_size_and_the_speed_of_the_simulator(
    env: str, size: tuple[int, ...], speed: float
) -> None:
    config = EnvConfig(env, obs="state", action_repeat=2)
    actions, total = _episode(config, 5, 4)
    with closing(Stage(config)) as stage:
        pictures, again = stage.play(5, actions)
        assert stage.frames_per_second == pytest.approx(speed)
    assert pictures.shape == (4, *size)
    assert pictures.std() > 1
    assert again == pytest.approx(total)


def test_episode_ends_where_it_has_ended() -> None:
    config = EnvConfig("toy:terminating", obs="state", time_limit=50)
    with closing(Stage(config)) as stage:
        pictures, _ = stage.play(0, [np.zeros(1, np.float32)] * 100)
    assert len(pictures) < 100


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="lists no rgb_array in metadata"):
        Stage(replace(EnvConfig("gym:sample_environments:Image-v0"), obs="state"))
