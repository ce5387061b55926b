"""How long a decision lasts, where `--action-repeat 0` leaves it open.

Simulators count time differently: a frame of the Control Suite is 10 ms for the cartpole and 25 ms for the
walker. PlaNet's authors chose the repeat for each task (Hafner et al. 2019: cartpole 8, cheetah 4, walker 2);
here decisions are as near as can be to 40 ms apart, whatever the task. Elsewhere the published numbers hold.
"""

from dataclasses import replace

from dreamer.config import Config, EnvConfig
from dreamer.envs.dmc import ControlSuiteEnv, load_dmc

DECISION_SECONDS = 0.04
ATARI = 4
"""Frames of an Atari game (paper, Appendix A)."""
ELSEWHERE = 2
"""Frames where no simulated time is known."""


def settled(config: Config) -> Config:
    """The configuration with a number for `action_repeat`. Raises `UserError` for an unknown task."""
    return replace(config, environment=with_decisions(config.environment))


def with_decisions(config: EnvConfig) -> EnvConfig:
    """The same environment, its `action_repeat` settled."""
    return config if config.action_repeat else replace(config, action_repeat=_frames(config))


def _frames(config: EnvConfig) -> int:
    kind, _, name = config.env.partition(":")
    if kind != "dmc":
        return ATARI if kind == "atari" else ELSEWHERE
    env: ControlSuiteEnv = load_dmc(name, config)
    try:
        return max(1, round(DECISION_SECONDS / env.frame_seconds))
    finally:
        env.close()
