"""One decision of an agent: the filter and the actor, or PlaNet's search."""

from collections.abc import Iterator

import numpy as np
import torch

from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.bench.figure import Figure, Stopwatch
from dreamer.bench.work import Work, bytes_of, count_flops
from dreamer.config import Config, with_options
from dreamer.results.timing import random_batch
from dreamer.types import EnvSpec

ACTING = "acting"


def acting(watch: Stopwatch, agent: ModelBasedAgent) -> Iterator[Figure]:
    """A decision in collection, for all environments of the run at once, and one of PlaNet's planner."""
    config, count = agent.config, agent.config.environment.num_envs
    several = "" if count == 1 else f", {count} environments"
    yield _decision(watch, agent, f"policy step{several}", count)
    if config.behavior.agent != "planet" and not agent.spec.action.discrete:
        yield _decision(watch, _planner(agent.spec, config), "PlaNet's search", 1)


def _decision(watch: Stopwatch, agent: ModelBasedAgent, name: str, count: int) -> Figure:
    obs, state = _observation(agent.spec, count), agent.initial_state(count)
    generator = torch.Generator(agent.device).manual_seed(0)

    def decide() -> None:
        agent.policy(obs, state, True, generator)

    networks = [*agent.world_model.encoder.parameters(), *agent.world_model.rssm.parameters()]
    work = Work(count_flops(decide), bytes_of([*networks, *agent.behavior.parameters()]))
    return watch.measure(ACTING, name, decide, work=work)


def _observation(spec: EnvSpec, count: int) -> dict[str, np.ndarray]:
    """Noise in place of what `count` environments show, `(count, ...)`."""
    batch = random_batch(spec, count, 1, torch.device("cpu"))
    return {key: batch[key][:, 0].numpy() for key in (*spec.images, *spec.vectors)}


def _planner(spec: EnvSpec, config: Config) -> ModelBasedAgent:
    agent = make_agent(spec, with_options(config, {"agent": "planet"}))
    assert isinstance(agent, ModelBasedAgent)
    return agent
