"""Load a trained agent from its run directory."""

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


@dataclass(frozen=True)
class TrainedRun:
    """An agent with the weights of the newest checkpoint, and an environment to evaluate it in."""

    directory: RunDirectory
    config: Config
    agent: Agent
    envs: VectorEnv
    env_step: int


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
    envs = VectorEnv(evaluated(config.environment), 1, config.training.seed)
    agent = make_agent(envs.spec, config)
    with checkpoint.restoring(directory.checkpoints, state, config, agent):
        agent.load_state_dict(state["agent"])
        return TrainedRun(directory, config, agent, envs, state["env_step"])
