"""From a configuration to an agent."""

import torch

from dreamer.agents.agent import Agent, Algorithm
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.random import Random
from dreamer.baselines.a3c import A3C
from dreamer.baselines.d4pg import D4PG
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.fast import accelerate
from dreamer.fast.cuda_graph import CudaGraph, GraphedUpdate, Update
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
    agent = Agent(algorithm, config)
    if config.training.fast:
        accelerate(algorithm)
    return agent


def make_update(agent: Agent, fast: bool) -> Update:
    """Return how `agent` takes updates: by a CUDA graph if it is to be fast, on one GPU; else by `agent.update`.

    Data-parallel runs use no graph, since it would have to hold the communication.
    """
    if not fast or agent.device.type != "cuda" or type(agent) is not Agent:
        return agent.update
    torch.backends.cudnn.benchmark = True  # every update has the same shapes: let cuDNN try out its kernels
    return GraphedUpdate(agent, CudaGraph)
