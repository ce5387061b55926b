"""From a name to an environment: the chain of wrappers that every environment goes through."""

import gymnasium as gym
from gymnasium.wrappers import AddRenderObservation, RescaleAction, TimeLimit

from dreamer.config import EnvConfig
from dreamer.envs.dmc import load_dmc
from dreamer.envs.toy import load_toy
from dreamer.envs.wrappers import FrameRepeat, Named
from dreamer.errors import UserError


def make_env(config: EnvConfig, seed: int = 0) -> gym.Env:
    """Make the environment `config.env`; a first `reset()` without a seed follows from `seed`.

    Observations are a `Dict` of uint8 images and float32 vectors, actions one float32 vector in [-1, 1].

    Raises:
        UserError: there is no such environment, or its spaces do not fit.
    """
    env = _load(config)
    env.reset(seed=seed)
    env = RescaleAction(env, -1.0, 1.0)
    env = TimeLimit(env, config.time_limit)  # Inside the repeat: it counts frames.
    env = FrameRepeat(env, config.action_repeat)
    if config.obs == "state":
        return Named(env, "state")
    return Named(AddRenderObservation(env), "image")


def _load(config: EnvConfig) -> gym.Env:
    scheme, _, name = config.env.partition(":")
    match scheme:
        case "dmc":
            return load_dmc(name, config.camera, config.image_size, config.render)
        case "toy":
            return load_toy(name, config.image_size)
    raise UserError(f"The environment {config.env!r} must begin with dmc:, gym: or toy:.")
