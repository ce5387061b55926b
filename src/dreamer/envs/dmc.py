"""The DeepMind Control Suite behind Gymnasium's interface (paper, Section 6; Tassa et al., 2018)."""

from importlib.metadata import version
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.envs.rendering import Camera, drawing_off, simplify
from dreamer.errors import UserError, did_you_mean

ALIASES = {"cup_catch": "ball_in_cup_catch"}
"""Names the literature uses besides the suite's own."""

_UNLIMITED = 1e10
"""Bound that dm_control reports for an actuator without limits (MuJoCo's mjMAXVAL)."""


class ControlSuiteEnv(gym.Env):
    """One task of the suite; a step is one frame.

    Observations are those of the task, flattened to one float32 vector. `render()` returns the image. The
    suite's time limit (1000 frames in nearly all tasks) is removed; the caller sets one.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, config: EnvConfig) -> None:
        # Some domains (lqr) build their model at random: a fixed seed makes it the same in every process.
        settings = {"time_limit": float("inf"), "random": np.random.RandomState(0)}
        self._env = import_suite().load(domain, task, settings)
        self._physics = _without_own_rendering(self._env.physics)
        model = self._physics.model.ptr
        if config.render == "fast":
            simplify(model)
        self._camera = Camera(model, _camera_number(domain, config, model.ncam), config.image_size)
        self.action_space = _action_space(self._env.action_spec())
        size = sum(int(np.prod(part.shape)) for part in self._env.observation_spec().values())
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    @property
    def frame_seconds(self) -> float:
        """Simulated seconds between two frames."""
        return float(self._env.control_timestep())

    @property
    def action_names(self) -> list[str]:
        """What each number of an action moves: `right hip`."""
        model = self._physics.model
        return [(model.id2name(i, "actuator") or f"motor {i}").replace("_", " ") for i in range(model.nu)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a start state as the suite does. Everything after it is a function of the seed and the actions."""
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)  # This old generator takes 32 bits.
        observation = _flat(self._env.reset().observation)
        self._camera.upload_terrain()
        return observation, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance one frame. `terminated` means that the discount is 0, which happens in few tasks (lqr)."""
        step = self._env.step(action)
        terminated = step.last() and step.discount == 0
        truncated = step.last() and not terminated
        return _flat(step.observation), float(step.reward), terminated, truncated, {}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the image, uint8 `(image_size, image_size, 3)`."""
        return self._camera.draw(self._physics.data.ptr)

    def close(self) -> None:
        """Free the simulator and the OpenGL context."""
        self._camera.close()
        self._env.close()


def load_dmc(name: str, config: EnvConfig) -> ControlSuiteEnv:
    """Make the task `<domain>_<task>`. Raises `UserError` with the nearest names if there is none."""
    tasks = {f"{domain}_{task}": (domain, task) for domain, task in import_suite().ALL_TASKS}
    domain_and_task = tasks.get(ALIASES.get(name, name))
    if domain_and_task is None:
        hint = did_you_mean(name, [*tasks, *ALIASES], "dmc:")
        raise UserError(f"There is no Control Suite task {name!r}{hint}.")
    try:
        return ControlSuiteEnv(*domain_and_task, config)
    except AttributeError as error:
        raise _mismatch(error) or error from error


def _mismatch(error: AttributeError) -> UserError | None:
    """Return what to do where MuJoCo's structures have other parts than dm_control asks for."""
    if type(error.obj).__name__ not in ("MjModel", "MjData"):
        return None
    versions = [f"{package} {version(package)}" for package in ("MuJoCo", "dm-control")]
    return UserError(
        f"{' and '.join(versions)} do not fit each other ({error}): take the dm-control made for this MuJoCo by `pip "
        f"install -U mujoco=={version('mujoco')} dm-control`, or those of the published results in "
        "constraints.txt."
    )


def import_suite() -> Any:
    """Import dm_control's suite with its own rendering switched off: `Camera` draws in its place.

    dm_control would otherwise choose an OpenGL backend for the whole process when it is imported, even if nothing
    is to be drawn, and fail if there is none.
    """
    with drawing_off():
        from dm_control import suite
    return suite


def _without_own_rendering(physics: Any) -> Any:
    """Give the physics no OpenGL contexts, so that no task tries to use dm_control's rendering."""
    physics.__class__ = type(physics.__class__.__name__, (physics.__class__,), {"contexts": None})
    return physics


def _camera_number(domain: str, config: EnvConfig, cameras: int) -> int:
    """Return the camera asked for, by default the paper's. Raises `UserError` if the task has no such camera."""
    camera = config.camera
    if camera == -1:
        camera = 2 if domain == "quadruped" else 0
    if not 0 <= camera < cameras:
        raise UserError(f"{config.env} has no camera {camera}: choose --camera from 0 to {cameras - 1}.")
    return camera


def _action_space(spec: Any) -> spaces.Box:
    """Return the suite's bounds. Actuators without limits (lqr) get [-1, 1], as for the paper's agents."""
    low, high = (np.asarray(bound, np.float32) for bound in (spec.minimum, spec.maximum))
    unlimited = (low <= -_UNLIMITED) | (high >= _UNLIMITED)
    return spaces.Box(np.where(unlimited, -1, low), np.where(unlimited, 1, high), dtype=np.float32)


def _flat(observation: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in observation.values()]).astype(np.float32)
