"""Any registered Gymnasium environment: `gym:<id>`, or `gym:<module>:<id>` to import a module first."""

import sys
from typing import Any

import gymnasium as gym

from dreamer.config import EnvConfig
from dreamer.envs.failures import close
from dreamer.envs.observations import shows_image
from dreamer.envs.rendering import find_backend, simplify
from dreamer.errors import UserError, did_you_mean


def load_gym(name: str, config: EnvConfig) -> gym.Env:
    """Make the environment of this id, able to render where `config` wants an image it does not show.

    Raises:
        UserError: there is no such id (the message has the nearest ones), a module or package that it
            needs is missing, or it cannot render.
    """
    env = _make(name)
    if config.obs == "state" or shows_image(getattr(env, "observation_space", None)):
        return env
    close(env, config.env)
    if "rgb_array" not in ((env.metadata or {}).get("render_modes") or []):
        raise UserError(f"{config.env} neither shows an image nor renders to an rgb_array: use --obs state.")
    if _uses_mujoco(env):
        return _make_mujoco(name, str(env.unwrapped.spec and env.unwrapped.spec.entry_point), config)
    return _make(name, render_mode="rgb_array")


def _make(name: str, **settings: Any) -> gym.Env:
    try:
        # Checked by us at every step, not by Gymnasium at the first.
        return gym.make(name, disable_env_checker=True, **settings)
    except (gym.error.UnregisteredEnv, gym.error.DeprecatedEnv) as error:
        hint = did_you_mean(name, gym.registry, "gym:")
        raise UserError(f"There is no Gymnasium environment {name!r}{hint or f': {error}'}.") from error


def _uses_mujoco(env: gym.Env) -> bool:
    module = sys.modules.get("gymnasium.envs.mujoco.mujoco_env")
    return module is not None and isinstance(env.unwrapped, module.MujocoEnv)


def _make_mujoco(name: str, entry_point: str, config: EnvConfig) -> gym.Env:
    """Make an environment that draws with MuJoCo, at the size and quality asked for where it can."""
    find_backend()  # Sets MUJOCO_GL, which Gymnasium reads when it draws first.
    own = entry_point.startswith("gymnasium.envs.mujoco")
    size = {"width": config.image_size, "height": config.image_size} if own else {}
    env = _make(name, render_mode="rgb_array", **size)
    if config.render == "fast":
        simplify(env.unwrapped.model)  # pyright: ignore[reportAttributeAccessIssue]
    return env
