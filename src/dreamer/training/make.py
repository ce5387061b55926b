"""From a configuration to what trains."""

from collections.abc import Callable
from pathlib import Path

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.config import Config
from dreamer.training.a3c_trainer import A3CTrainer
from dreamer.training.trainer import Trainer
from dreamer.types import EnvSpec


def make_trainer(
    config: Config, logdir: Path, make_agent: Callable[[EnvSpec, Config], Agent] = make_agent
) -> Trainer | A3CTrainer:
    """Make the run that `config` asks for, in `logdir`, or go on with the one that is there.

    Raises `UserError` if it is refused; then nothing has been written.
    """
    kind = A3CTrainer if config.behavior.agent == "a3c" else Trainer
    return kind(config, logdir, make_agent)
