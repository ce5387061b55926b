"""Load a trained agent from its run directory."""

import logging
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.config import Config, evaluated
from dreamer.envs.vector import VectorEnv
from dreamer.errors import UserError
from dreamer.storage import checkpoint
from dreamer.storage.run_directory import RunDirectory
from dreamer.types import EnvSpec

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """An agent with the weights of the newest checkpoint. No environment has been made for it."""

    directory: RunDirectory
    config: Config
    agent: Agent
    env_step: int

    def make_envs(self) -> VectorEnv:
        """Make an environment to evaluate the agent in; if its code is in no installed package, say where it is.

        Raises `UserError` if it cannot be made, or is another than the one that the agent has learned in.
        """
        envs = _make_envs(self.config)
        if not envs.spec.fits(self.agent.spec):
            envs.close()
            raise UserError(
                f"{self.config.environment.env} has changed since this agent learned in it: its observations or"
                " actions are others."
            )
        if envs.file:
            _logger.warning("The environment %s comes from %s.", self.config.environment.env, envs.file)
        return envs


def load_run(path: Path, **changes: Any) -> TrainedRun:
    """Load the newest checkpoint of a run, with some options changed (`device="cpu"`).

    Raises `UserError` if `path` is not a run directory, if it holds no checkpoint yet, or if an earlier version
    wrote it.
    """
    directory = RunDirectory(path)
    config = directory.config(**changes)
    state = checkpoint.load(directory.checkpoints)
    if state is None:
        raise UserError(f"{path} holds no checkpoint yet: let `dreamer train` run until it saves one.")
    with checkpoint.restoring(directory.checkpoints, state, config):
        agent = make_agent(_spec(state, config), config)
        checkpoint.check_agent(state, agent)
        agent.load_state_dict(state["agent"])
        return TrainedRun(directory, config, agent, state["env_step"])


def _spec(state: dict[str, Any], config: Config) -> EnvSpec:
    """Return what the checkpoint says of the environment; the first ones of this version do not say it yet."""
    if "spec" in state:
        return EnvSpec.from_dict(state["spec"])
    with closing(_make_envs(config)) as envs:
        return envs.spec


def _make_envs(config: Config) -> VectorEnv:
    return VectorEnv(evaluated(config.environment), 1, config.training.seed)
