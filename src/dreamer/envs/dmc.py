"""The DeepMind Control Suite behind Gymnasium's interface (paper, Section 6; Tassa et al., 2018)."""

import os
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamer.envs.rendering import Camera
from dreamer.errors import UserError


def import_suite() -> Any:
    """Import dm_control's suite with its own rendering switched off: `Camera` draws in its place."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        from dm_control import suite
    finally:
        del os.environ["MUJOCO_GL"]
        if before is not None:
            os.environ["MUJOCO_GL"] = before
    return suite


class ControlSuiteEnv(gym.Env):
    """One task of the suite, a frame at a time.

    Observations are the task's own, flattened to a float32 vector; `render()` gives the picture. The task's
    time limit is removed: the caller sets one.
    """

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(
        self, domain: str, task: str, camera: int, image_size: int, quality: Literal["canonical", "fast"]
    ) -> None:
        # Some domains draw their model at random (lqr): a fixed seed makes it the same in every process.
        settings = {"time_limit": float("inf"), "random": np.random.RandomState(0)}
        self._env = import_suite().load(domain, task, settings)
        physics = self._env.physics
        camera = camera if camera >= 0 else 2 if domain == "quadruped" else 0
        self._camera = Camera(physics.model.ptr, camera, image_size, quality)
        spec = self._env.action_spec()
        self.action_space = spaces.Box(spec.minimum.astype(np.float32), spec.maximum.astype(np.float32), spec.shape, np.float32)
        size = sum(int(np.prod(part.shape)) for part in self._env.observation_spec().values())
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed is not None:
            self._env.task.random.seed(seed)
        return _flat(self._env.reset().observation), {}

    def step(self, action: np.ndarray):
        step = self._env.step(action)
        terminated = step.last()  # Never the time limit, which is infinite here.
        return _flat(step.observation), float(step.reward), terminated, False, {}

    def render(self) -> np.ndarray:
        """Return the picture, uint8 `(image_size, image_size, 3)`."""
        return self._camera.draw(self._env.physics.data.ptr)

    def close(self) -> None:
        self._camera.close()
        self._env.close()


def _flat(observation: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in observation.values()]).astype(np.float32)


def load_dmc(name: str, camera: int, image_size: int, quality: Literal["canonical", "fast"]) -> ControlSuiteEnv:
    """Make the task `<domain>_<task>`. Raises `UserError` with the nearest names if there is none."""
    tasks = {f"{domain}_{task}": (domain, task) for domain, task in import_suite().ALL_TASKS}
    tasks["cup_catch"] = ("ball_in_cup", "catch")
    if name not in tasks:
        raise UserError(f"There is no Control Suite task {name!r}.")
    return ControlSuiteEnv(*tasks[name], camera, image_size, quality)
