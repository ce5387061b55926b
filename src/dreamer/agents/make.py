"""From a configuration to an agent."""

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.config import Config
from dreamer.envs.spec import EnvSpec


def make_agent(spec: EnvSpec, config: Config) -> Agent:
    """The agent that `config` names, for environments of this kind."""
    return Dreamer(spec, config)
