"""Play an episode again to be looked at: in the simulator's own resolution, for agents that see no images, too."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs.conversion import image_of
from dreamer.envs.make import make_acting
from dreamer.envs.observations import require_rendering

SIZE = 320
"""Height and width of pictures of simulators that draw at any size, such as MuJoCo."""
FRAMES_PER_SECOND = 30.0
"""Simulator frames in a second, for simulators that do not say it."""


class Stage:
    """An environment whose pictures are for people: as large and as well drawn as the simulator draws them.

    Raises `UserError` if the environment cannot be drawn.
    """

    def __init__(self, config: EnvConfig) -> None:
        self._name = config.env
        self._env = make_acting(replace(config, obs="render", image_size=SIZE, render="canonical"))
        require_rendering(self._env, config)
        self.frames_per_second = _frames_per_second(self._env.unwrapped) / config.repeat
        """Pictures in a second, so that the task is as fast as it is simulated."""

    def play(self, seed: int, actions: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
        """Take these actions of an episode with this seed.

        Return the picture before each, uint8 `(T, H, W, C)`, and the return, which is that of the episode if the
        environment repeats itself.
        """
        self._env.reset(seed=seed)
        pictures, total = [], 0.0
        for action in actions:
            pictures.append(self._picture())
            _, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return np.stack(pictures), total

    def _picture(self) -> np.ndarray:
        rendered: Any = self._env.render()
        return image_of(rendered, f"The image that {self._name} renders")

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def _frames_per_second(env: gym.Env) -> float:
    seconds = getattr(env, "frame_seconds", None)
    return 1 / seconds if seconds else float((env.metadata or {}).get("render_fps") or FRAMES_PER_SECOND)
