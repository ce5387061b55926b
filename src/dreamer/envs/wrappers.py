"""What Gymnasium's own wrappers leave open: the frame repeat and naming of observations."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class FrameRepeat(gym.Wrapper):
    """Take each action for several frames and add up their rewards; stop early where an episode ends.

    `info["frames"]` says how many frames were taken.
    """

    def __init__(self, env: gym.Env, repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: Any):
        total, frames = 0.0, 0
        while True:
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            frames += 1
            if terminated or truncated or frames == self._repeat:
                return observation, total, terminated, truncated, {**info, "frames": frames}


class Named(gym.ObservationWrapper):
    """Put a single observation into a dictionary under `key`."""

    def __init__(self, env: gym.Env, key: str) -> None:
        super().__init__(env)
        self._key = key
        self.observation_space = spaces.Dict({key: env.observation_space})

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        return {self._key: observation}
