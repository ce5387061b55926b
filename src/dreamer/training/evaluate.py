"""Evaluation: whole episodes of the deterministic policy in environments of their own (paper, Section 6).

It has its own environment, filter state and random generators: training goes on as if it had not been.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.envs.vector import VectorEnv
from dreamer.training.video import three_channels


class StoppedError(Exception):
    """It was asked to stop before the last episode had ended."""


@dataclass(frozen=True)
class Evaluation:
    """Returns of the episodes, and the first episode's pictures `(T, H, W, 3)` uint8 if asked for."""

    returns: list[float]
    lengths: list[int]
    frames: np.ndarray | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        return float(np.std(self.returns))


def evaluate(
    agent: Agent,
    envs: VectorEnv,
    episodes: int,
    seed: int,
    record: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Play whole episodes in the first environment of `envs`: a function of `seed` and the weights.

    Raises `StoppedError` as soon as `stop()`, asked before every decision, is true.
    """
    generator = torch.Generator(agent.device).manual_seed(seed)
    seeds = np.random.SeedSequence(seed).generate_state(episodes)
    returns, lengths, pictures = [], [], []
    for number, episode_seed in enumerate(seeds.tolist()):
        keep = pictures if record and number == 0 else None
        total, length = _play(agent, envs, episode_seed, generator, keep, stop)
        returns.append(total)
        lengths.append(length)
    return Evaluation(returns, lengths, three_channels(np.stack(pictures)) if pictures else None)


def _play(
    agent: Agent,
    envs: VectorEnv,
    seed: int,
    generator: torch.Generator,
    pictures: list[np.ndarray] | None,
    stop: Callable[[], bool],
) -> tuple[float, int]:
    """One episode; returns its return and its decisions, and appends what was seen to `pictures`."""
    state, obs = agent.initial_state(1), envs.reset(0, seed)
    total, length, done = 0.0, 0, False
    image = next(iter(envs.spec.images), None)
    while not done:
        if stop():
            raise StoppedError
        if pictures is not None and image is not None:
            pictures.append(obs[image])
        action, state = agent.policy({key: x[None] for key, x in obs.items()}, state, False, generator)
        result = envs.step_one(0, action[0])
        obs, done = result.observation, result.terminated or result.truncated
        total, length = total + result.reward, length + 1
    return total, length
