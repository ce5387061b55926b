"""One decision in the environment: its physics, its picture, and both."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dreamer.bench.figure import Figure, Stopwatch, Variant
from dreamer.config import EnvConfig
from dreamer.envs import VectorEnv, make_env
from dreamer.errors import UserError
from dreamer.results.timing import decisions

ENVIRONMENT = "environment"


def environment(config: EnvConfig, repeats: int) -> Iterator[Figure]:
    """A decision (physics of some frames, one picture), its two parts, and several side by side."""
    watch = Stopwatch(Variant("cpu"), repeats=repeats)
    with decisions(config) as decide:
        yield watch.measure(ENVIRONMENT, "decision", decide)
    if config.obs == "image":
        yield from _parts(watch, config)
    if config.num_envs > 1:
        yield _side_by_side(watch, config)


def _parts(watch: Stopwatch, config: EnvConfig) -> Iterator[Figure]:
    """Physics and picture apart, where the environment can do one without the other."""
    try:
        with decisions(replace(config, obs="state")) as decide:
            yield watch.measure(ENVIRONMENT, "physics alone", decide)
    except UserError:  # It shows pictures and nothing else.
        return
    env = make_env(config)
    try:
        env.reset(seed=0)
        yield watch.measure(ENVIRONMENT, "picture alone", env.render)
    finally:
        env.close()


def _side_by_side(watch: Stopwatch, config: EnvConfig) -> Figure:
    """A decision in each of `num_envs` worker processes at once."""
    envs = VectorEnv(config, config.num_envs)
    actions = np.zeros((config.num_envs, envs.spec.action.size), np.float32)

    def decide() -> None:
        for index, result in enumerate(envs.step(actions)):
            if result.terminated or result.truncated:
                envs.reset(index, seed=0)

    try:
        for index in range(config.num_envs):
            envs.reset(index, seed=index)
        return watch.measure(ENVIRONMENT, f"decision in each of {config.num_envs}", decide)
    finally:
        envs.close()
