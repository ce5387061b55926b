"""A robot of a user's own on top of Gymnasium's MuJoCo environments, made as `gym:sample_robot:Robot-v0`."""

import gymnasium as gym
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv


class Robot(InvertedPendulumEnv):
    """Gymnasium's pendulum under another name."""


gym.register("Robot-v0", f"{__name__}:Robot")
