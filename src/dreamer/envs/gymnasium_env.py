"""Any registered Gymnasium environment: `gym:<id>`, or `gym:<module>:<id>` to import a module first."""

import re
import sys
from contextlib import suppress
from typing import Any

import gymnasium as gym

from dreamer.config import EnvConfig
from dreamer.envs.atari import game_of, known_games
from dreamer.envs.failures import cannot_draw, close
from dreamer.envs.observations import is_rendered, require_rendering
from dreamer.envs.rendering import drawing_off, find_backend, simplify
from dreamer.errors import UserError, did_you_mean
from dreamer.own_code import refuse_code_of_runs

_NOT_SUGGESTED = ("phys2d/", "tabular/", "GymV21", "GymV26")
"""Beginnings of ids that need JAX, or an environment of the old Gym."""


def load_gym(name: str, config: EnvConfig) -> gym.Env:
    """Make the environment of this id with `--env-args`, able to render where the agent is to see that.

    Raises:
        UserError: there is no such id (the message has the nearest ones), a module or package that it
            needs is missing, it cannot render, or `--env-args` have it render otherwise.
    """
    mode = config.arguments.get("render_mode", "rgb_array")
    if mode != "rgb_array" and config.obs in ("image", "render"):
        raise UserError(
            f"{config.env} may be seen through render_mode rgb_array, not {mode}: leave render_mode out of --env-args, "
            "or use --obs state."
        )
    refuse_code_of_runs()  # the name may be that of a run which somebody has sent
    env = _make_to_look_at(name, config)
    if not is_rendered(config.obs, getattr(env, "observation_space", None)):
        return env
    close(env, config.env)
    require_rendering(env, config)
    if _uses_mujoco(env):
        return _make_mujoco(name, str(env.unwrapped.spec and env.unwrapped.spec.entry_point), config)
    return _make_to_draw(name, config)


def _make_to_look_at(name: str, config: EnvConfig) -> gym.Env:
    """Make the environment. If MUJOCO_GL names what is not here, that matters only when something is drawn.

    Some wrappers, such as `AddRenderObservation`, do without a `render_mode` not even that.
    """
    try:
        return _make(name, config)
    except Exception as error:
        needs_mode = (
            re.search("render.?mode", str(error), re.IGNORECASE) and "render_mode" not in config.arguments
        )
        if not needs_mode and not cannot_draw(error):
            raise
    if needs_mode:
        return _make_to_draw(name, config)
    with drawing_off():
        return _make(name, config)


def _make_to_draw(name: str, config: EnvConfig) -> gym.Env:
    if "mujoco" in sys.modules:  # It may draw with MuJoCo in a way of its own, as Gymnasium-Robotics does.
        with suppress(UserError):
            find_backend()
    return _make(name, config, render_mode="rgb_array")


def _make(name: str, config: EnvConfig, **settings: Any) -> gym.Env:
    # Checked by us at every step, not by Gymnasium at the first.
    settings = {"disable_env_checker": True, **settings, **config.arguments}
    try:
        return gym.make(name, **settings)
    except (gym.error.UnregisteredEnv, gym.error.DeprecatedEnv) as error:
        hint = _suggestion(name) or f": {str(error).rstrip('.')}"
        raise UserError(f"There is no Gymnasium environment {name!r}{hint}.") from error


def _suggestion(name: str) -> str:
    """Return ` (did you mean ...?)` with names that can be made, or an empty string."""
    if game := game_of(name):
        return f" (did you mean atari:{game}?)"
    if name.startswith("ALE/"):
        return did_you_mean(name[4:].partition("-")[0].lower(), known_games(), "atari:")
    module, colon, gym_id = name.rpartition(":")
    return did_you_mean(gym_id, known_ids(), f"gym:{module}{colon}")


def known_ids() -> list[str]:
    """The registered ids that are worth a suggestion: newest versions, without games (`atari:`) and JAX."""
    ids = [
        gym_id
        for gym_id, spec in gym.registry.items()
        if not gym_id.startswith(_NOT_SUGGESTED) and not str(spec.entry_point).startswith("ale_py")
    ]
    newest: dict[str, int] = {}
    for gym_id in ids:
        base, version = _split(gym_id)
        newest[base] = max(version, newest.get(base, -1))
    return [gym_id for gym_id in ids if _split(gym_id)[1] == newest[_split(gym_id)[0]]]


def _split(gym_id: str) -> tuple[str, int]:
    """`Ant-v5` -> `Ant`, 5; an id without a version has -1."""
    base, mark, version = gym_id.rpartition("-v")
    return (base, int(version)) if mark and version.isdecimal() else (gym_id, -1)


def _uses_mujoco(env: gym.Env) -> bool:
    module = sys.modules.get("gymnasium.envs.mujoco.mujoco_env")
    return module is not None and isinstance(env.unwrapped, module.MujocoEnv)


def _make_mujoco(name: str, entry_point: str, config: EnvConfig) -> gym.Env:
    """Make an environment that draws with MuJoCo, at the size and quality asked for where it can."""
    find_backend()  # Sets MUJOCO_GL, which Gymnasium reads when it draws first.
    own = entry_point.startswith("gymnasium.envs.mujoco")
    size = {"width": config.image_size, "height": config.image_size} if own else {}
    env = _make(name, config, render_mode="rgb_array", **size)
    if config.render == "fast":
        simplify(env.unwrapped.model)  # pyright: ignore[reportAttributeAccessIssue]
    return env
