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
    config: Config,
    logdir: Path,
    make_agent: Callable[[EnvSpec, Config], Agent] = make_agent,
    ray: str | None = None,
) -> Trainer | A3CTrainer:
    """Make the run that `config` asks for, in `logdir`, or go on with the one that is there.

    `ray` is the address of a cluster for its actors (`with_actors`). Raises `UserError` if it is refused; then nothing
    has been written.
    """
    if config.behavior.agent == "a3c":
        return A3CTrainer(config, logdir, make_agent)
    return Trainer(config, logdir, make_agent, ray)
