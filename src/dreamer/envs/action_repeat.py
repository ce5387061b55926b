"""Replace `--action-repeat auto` by a number of simulator frames.

A frame of the Control Suite lasts 10 ms in the cartpole and 25 ms in the walker. PlaNet's authors chose the
repeat for each task (Hafner et al. 2019: cartpole 8, cheetah 4, walker 2). Here agent steps are as close as
possible to 40 ms apart in every task of the Control Suite. Other environments use the published numbers.
"""

from dataclasses import replace

from dreamer.config import Config, EnvConfig
from dreamer.envs.dmc import ControlSuiteEnv, load_dmc

STEP_SECONDS = 0.04
"""Simulated time of an agent step in the Control Suite."""
ATARI = 4
"""Frames per agent step in Atari games (paper, Appendix A)."""
ELSEWHERE = 2
"""Frames per agent step in environments whose simulated time is not known."""


def resolve(config: Config) -> Config:
    """Return the configuration with a number for `action_repeat`. Raises `UserError` for an unknown task."""
    environment = config.environment
    if environment.action_repeat != "auto":
        return config
    return replace(config, environment=replace(environment, action_repeat=_frames(environment)))


def _frames(config: EnvConfig) -> int:
    kind, _, name = config.env.partition(":")
    if kind != "dmc":
        return ATARI if kind == "atari" else ELSEWHERE
    env: ControlSuiteEnv = load_dmc(name, config)
    try:
        return max(1, round(STEP_SECONDS / env.frame_seconds))
    finally:
        env.close()
