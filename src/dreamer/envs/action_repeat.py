"""How many simulator frames `--action-repeat auto` stands for.

Simulators count time differently: a frame of the Control Suite is 10 ms for the cartpole and 25 ms for the
walker. PlaNet's authors chose the repeat for each task (Hafner et al. 2019: cartpole 8, cheetah 4, walker 2);
here agent steps are as near as possible to 40 ms apart, whatever the task. Elsewhere the published numbers
hold.
"""

from dataclasses import replace

from dreamer.config import Config, EnvConfig
from dreamer.envs.dmc import ControlSuiteEnv, load_dmc

STEP_SECONDS = 0.04
ATARI = 4
"""Frames of an Atari game (paper, Appendix A)."""
ELSEWHERE = 2
"""Frames where the simulated time is not known."""


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
