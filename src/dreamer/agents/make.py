"""From a configuration to an agent."""

import torch

from dreamer.agents.agent import Agent, Algorithm
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.precision import pick_device
from dreamer.agents.random import Random
from dreamer.baselines.a3c import A3C
from dreamer.baselines.d4pg import D4PG
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.fast import accelerate
from dreamer.fast.cuda_graph import GraphedAgent
from dreamer.types import EnvSpec

ALGORITHMS: dict[str, type[Algorithm]] = {
    "dreamer": Dreamer,
    "no-value": NoValue,
    "planet": PlaNet,
    "d4pg": D4PG,
    "a3c": A3C,
    "random": Random,
}


def make_agent(spec: EnvSpec, config: Config) -> Agent:
    """Make the agent that `config` names, for environments of this kind. Its weights depend on the seed alone.

    Raises `UserError` if it cannot serve their actions.
    """
    name = config.behavior.agent
    if name == "planet" and spec.action.discrete:
        raise UserError(
            f"--agent planet plans continuous actions only, and {config.environment.env} has discrete ones:"
            " take --agent dreamer or no-value."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        algorithm = ALGORITHMS[name](spec, config)
    if not config.training.fast:
        return Agent(algorithm, config)
    accelerate(algorithm)
    on_gpu = pick_device(config.training.device).type == "cuda"
    return (GraphedAgent if on_gpu else Agent)(algorithm, config)
