"""From a name to an environment: the chain of wrappers that every environment goes through."""

import atexit
import re
import weakref
from contextlib import suppress

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from dreamer.config import EnvConfig, flag
from dreamer.envs.actions import unify_actions
from dreamer.envs.atari import game_of, known_games, load_atari
from dreamer.envs.dmc import ALIASES, import_suite, load_dmc
from dreamer.envs.failures import EnvError, calling
from dreamer.envs.gymnasium_env import known_ids, load_gym
from dreamer.envs.observations import unify_observations
from dreamer.envs.toy import TOYS, load_toy
from dreamer.envs.wrappers import CheckedEnv, FrameRepeat
from dreamer.errors import UserError, did_you_mean
from dreamer.types import SMALLEST_IMAGE

LOADERS = {"dmc": load_dmc, "gym": load_gym, "atari": load_atari, "toy": load_toy}
"""What makes the environments of each kind, by the word before the colon: `(name, config) -> Env`."""

WITH_ARGUMENTS = ("gym", "atari")
"""Kinds of environments that `--env-args` is for."""


def make_env(config: EnvConfig, seed: int = 0) -> gym.Env:
    """Make the environment `config.env`; resets without a seed of their own follow from `seed`.

    Observations are a `Dict` of uint8 images `(H, W, C)` and float32 vectors `(n,)`, actions one float32
    vector in [-1, 1]; `info["frames"]` has the simulator frames of each step. At the time limit an episode
    is truncated.

    Raises:
        UserError: there is no such environment, or what it shows or takes does not fit; later, from `reset`
            and `step`: the environment raised, or returned what has another shape or is not finite.
    """
    env = make_acting(config)
    try:
        wrapped = _shown(env, config, seed)
    except BaseException:
        env.close()
        raise
    # Registered after the first image and so called before the exit function of OpenGL, which takes the
    # display away from contexts that are still open.
    atexit.register(_close, weakref.ref(wrapped))
    return wrapped


def _shown(env: gym.Env, config: EnvConfig, seed: int) -> gym.Env:
    """Wrap the environment by what it shows. It is reset for that, and where that fails, once more with another seed.

    The wrapper is the outermost, so that one image is drawn and resized per agent step, however many frames it has.
    """
    try:
        return unify_observations(env, config, env.reset(seed=seed)[0])
    except EnvError as failure:
        if failure.passing:
            with suppress(EnvError):
                return unify_observations(env, config, env.reset(seed=seed + 1)[0])
        raise


def _close(env: "weakref.ref[gym.Env]") -> None:
    """Close an environment that its user left open, if it still exists."""
    if (still_open := env()) is not None:
        still_open.close()


def make_acting(config: EnvConfig) -> gym.Env:
    """Make the same environment with the observations and pictures of the simulator itself. Raises as `make_env`."""
    _validate(config)
    env = CheckedEnv(_load(config), config.env)
    try:
        limited = TimeLimit(env, config.time_limit)  # Inside the repeat, because it counts frames.
        return unify_actions(FrameRepeat(limited, config.repeat), config.env)
    except BaseException:
        env.close()
        raise


def _load(config: EnvConfig) -> gym.Env:
    kind, colon, name = config.env.partition(":")
    if not colon or kind not in LOADERS:
        kinds = ", ".join(f"{kind}:NAME" for kind in LOADERS)
        raise UserError(f"The environment {config.env!r} is none of {kinds}{_suggestion(config.env)}.")
    if config.env_args and kind not in WITH_ARGUMENTS:
        raise UserError(f"{config.env} takes no --env-args: leave {', '.join(config.env_args)} out.")
    with calling(config.env, "make"):
        return LOADERS[kind](name, config)


def _suggestion(env: str) -> str:
    """Return ` (did you mean ...?)` for a name without one of the kinds."""
    if game := game_of(env):
        return f" (did you mean atari:{game}?)"
    if re.fullmatch(r"(\w+[.\w]*:)?[\w/-]+-v\d+", env) and (":" in env or env in gym.registry):
        return f" (did you mean gym:{env}?)"
    return did_you_mean(env, known_names())


def known_names() -> list[str]:
    """Every environment that can be named without importing a module first."""
    tasks = (f"{domain}_{task}" for domain, task in import_suite().ALL_TASKS)
    names = {"dmc": [*tasks, *ALIASES], "gym": known_ids(), "atari": known_games(), "toy": TOYS}
    return [f"{kind}:{name}" for kind in names for name in names[kind]]


def _validate(config: EnvConfig) -> None:
    """Refuse numbers that no environment can be made with."""
    numbers = {
        "image_size": (config.image_size, SMALLEST_IMAGE),
        "action_repeat": (config.repeat, 1),
        "time_limit": (config.time_limit, 1),
    }
    for option, (number, least) in numbers.items():
        if number < least:
            raise UserError(f"{flag(option)} is {number}: it must be at least {least}.")
