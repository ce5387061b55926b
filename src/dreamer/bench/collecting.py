"""Measure what collecting costs: an agent step, a step of the environment, and a batch from the replay."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.bench.measurement import Measurement, Timer, seconds_per_call
from dreamer.bench.random_data import random_batch
from dreamer.config import Config, EnvConfig
from dreamer.envs.failures import EnvError
from dreamer.envs.vector import VectorEnv
from dreamer.replay.make import make_feed, make_sampler
from dreamer.replay.store import EpisodeStore
from dreamer.types import EnvSpec


def acting(timer: Timer, agent: Agent, n: int) -> Measurement:
    """Measure one action of the agent for `n` environments: filter and actor, or PlaNet's search."""
    batch, state = random_batch(agent.spec, n, 1), agent.initial_state(n)
    obs = {key: batch[key][:, 0].numpy() for key in agent.spec.images | agent.spec.vectors}
    generator = torch.Generator(agent.device).manual_seed(0)
    return timer.measure("acting", "agent step", lambda: agent.policy(obs, state, True, generator))


def environment(timer: Timer, config: EnvConfig) -> Iterator[Measurement]:
    """Measure one agent step of the environment, its physics alone, and a step of all environments of the run."""
    with stepping(config) as step:
        yield timer.measure("environment", "step", step)
    if config.obs == "image" and config.env.startswith("dmc:"):
        with stepping(replace(config, obs="state")) as step:
            yield timer.measure("environment", "step without an image", step)
    if config.num_envs > 1:
        with stepping(config, config.num_envs) as step:
            yield timer.measure("environment", f"step of all {config.num_envs}", step)


@contextlib.contextmanager
def stepping(config: EnvConfig, count: int = 1) -> Iterator[Callable[[], None]]:
    """Make environments, and yield a function that takes one agent step in each, episode after episode.

    As in a run, an episode with another seed replaces one that fails.
    """
    with contextlib.closing(VectorEnv(config, count)) as envs:
        actions = np.zeros((count, envs.spec.action.size), np.float32)
        seeds = itertools.count(count)

        def step() -> None:
            for index, result in enumerate(envs.step(actions)):
                if isinstance(result, EnvError) and not result.passing:
                    raise result
                if isinstance(result, EnvError) or result.terminated or result.truncated:
                    envs.reset(index, seed=next(seeds))

        for index in range(count):
            envs.reset(index, seed=index)
        yield step


def environment_spec(config: EnvConfig) -> EnvSpec:
    """Return the observations and actions of an environment, which is made and closed again."""
    with contextlib.closing(VectorEnv(config)) as envs:
        return envs.spec


def seconds_per_step(config: EnvConfig, budget: float = 1.0) -> float:
    """Return the seconds of one agent step of one environment, tried for `budget` seconds; see `stepping`."""
    with stepping(config) as step:
        return seconds_per_call(step, torch.device("cpu"), budget)


def replay(timer: Timer, agent: Agent, config: Config) -> Iterator[Measurement]:
    """Measure a batch drawn from episodes on disk, and a batch as a run gets it on its device."""
    length = 1 + max(1, config.environment.time_limit // config.environment.repeat)
    with tempfile.TemporaryDirectory(prefix="dreamer-bench-") as directory:
        store, rng = EpisodeStore(Path(directory)), np.random.default_rng(0)
        for seed in range(20):
            episode = random_batch(agent.spec, 1, length, seed)
            store.append({key: x[0].numpy() for key, x in episode.items() if key != "is_first"})
        sampler = make_sampler(config.replay, store, agent.transitions)
        out = sampler.allocate()
        yield timer.measure("replay", "batch drawn", lambda: sampler.sample(rng, out))
        feed = make_feed(config, agent.spec, store, timer.device, agent.transitions)
        batches = feed.iterate(rng, 10**9)  # no more than one is drawn ahead
        yield timer.measure("replay", "batch on the device", lambda: next(batches))
        batches.close()
