"""How long a run will take and how much disk it will fill, from a few measured seconds."""

from dataclasses import dataclass

from dreamer.config import Config
from dreamer.envs import EnvSpec
from dreamer.replay.make import bytes_per_decision
from dreamer.results.timing import AgentCost

KEPT_CHECKPOINTS = 2
"""The newest checkpoint, and the one before it while the newest is written."""


@dataclass(frozen=True)
class Forecast:
    """Of a whole run: `hours` in all, of which `learning`, and `disk` in bytes."""

    hours: float
    learning: float
    updates: int
    disk: int


def forecast(
    config: Config, spec: EnvSpec, agent: AgentCost, seconds_per_decision: float, cores: int
) -> Forecast:
    """Predict the whole run of `config` on a machine with these costs."""
    training = config.training
    rounds = 1 + max(0, training.steps - training.prefill) // training.train_every
    updates = training.pretrain_model + training.pretrain_value + rounds * training.train_steps
    repeat, side_by_side = config.environment.repeat, min(config.environment.num_envs, cores)
    decisions = training.steps / repeat
    collect = decisions * (seconds_per_decision / side_by_side + agent.action / config.environment.num_envs)
    test = _test_frames(config) / repeat * (seconds_per_decision + agent.action)
    learning = updates * agent.update / 3600
    hours = learning + (collect + test) / 3600
    kept = min(decisions, config.replay.replay_size or decisions)
    disk = int(kept * bytes_per_decision(spec)) + KEPT_CHECKPOINTS * agent.checkpoint
    return Forecast(hours, learning, updates, disk)


def _test_frames(config: Config) -> int:
    """Frames of all evaluations, if every episode lasts to the time limit."""
    training = config.training
    evaluations = (training.steps - 1) // training.eval_every if training.eval_every else 0
    episodes = evaluations * training.eval_episodes + training.final_episodes
    return episodes * config.environment.time_limit
