"""From a configuration to an agent."""

from collections.abc import Callable

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.random import RandomAgent
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.spec import EnvSpec

AGENTS: dict[str, Callable[[EnvSpec, Config], Agent]] = {
    "dreamer": Dreamer,
    "no-value": NoValue,
    "planet": PlaNet,
    "random": RandomAgent,
}


def make_agent(spec: EnvSpec, config: Config) -> Agent:
    """The agent that `config` names, for environments of this kind.

    Raises `UserError` if it cannot serve their actions.
    """
    name = config.behavior.agent
    if name == "planet" and spec.action.discrete:
        raise UserError(
            f"--agent planet plans continuous actions only, and {config.environment.env} has discrete ones:"
            " take --agent dreamer or no-value."
        )
    return AGENTS[name](spec, config)
