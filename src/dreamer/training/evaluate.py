"""Evaluation: whole episodes of the deterministic policy (paper, Section 6).

It has an environment, a filter state and random generators of its own, so it leaves no trace in training. Where the
environment fails, the episode does not count, and one with another seed takes its place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.envs.failures import EnvError
from dreamer.envs.vector import VectorEnv
from dreamer.logs.video import three_channels
from dreamer.training.failures import survive


class StoppedError(Exception):
    """The evaluation was asked to stop before its last episode had ended."""


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of the episodes, and their lengths in agent steps."""

    returns: list[float]
    lengths: list[int]
    images: np.ndarray | None = None
    """What was seen in the first episode, `(T, H, W, 3)` uint8, if asked for and if the agent sees images."""
    first: tuple[int, list[np.ndarray]] | None = None
    """Seed and actions of the first episode, from which it can be played again."""
    env_step: int | None = None
    """Frames that the agent had learned from, where that is known."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Population standard deviation of the returns."""
        return float(np.std(self.returns))


def evaluate(
    agent: Agent,
    envs: VectorEnv,
    episodes: int,
    seed: int,
    video: bool = False,
    stop: Callable[[], bool] = lambda: False,
    failed: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play whole episodes in the first environment of `envs`, as a function of `seed` and the weights.

    `stop` is asked before every agent step; `StoppedError` is raised as soon as it returns True. `failed` is called at
    every failure of the environment; `EnvError` is raised if there are too many in a row.
    """
    generator = torch.Generator(agent.device).manual_seed(seed)
    seeds = np.random.SeedSequence(seed).generate_state(episodes)
    returns, lengths, images, first = [], [], [], None
    for number, episode_seed in enumerate(seeds.tolist()):
        failures = 0
        while True:
            shown, actions = [] if video and number == 0 else None, []
            try:
                total, length = _play(agent, envs, episode_seed, generator, shown, actions, stop)
                first = first or (episode_seed, actions)
                break
            except EnvError as failure:
                failures += 1
                failed()
                survive(failure, failures, envs.config.env_failures)
            episode_seed = int(np.random.SeedSequence((seed, number, failures)).generate_state(1)[0])
        returns.append(total)
        lengths.append(length)
        images = shown or images
    return Evaluation(returns, lengths, three_channels(np.stack(images)) if images else None, first)


def _play(
    agent: Agent,
    envs: VectorEnv,
    seed: int,
    generator: torch.Generator,
    images: list[np.ndarray] | None,
    actions: list[np.ndarray],
    stop: Callable[[], bool],
) -> tuple[float, int]:
    """Play one episode and return its return and its length; what was seen and done goes to `images`, `actions`."""
    state, obs = agent.initial_state(1), envs.reset(0, seed)
    total, length, done = 0.0, 0, False
    image = next(iter(envs.spec.images), None)
    while not done:
        if stop():
            raise StoppedError
        if images is not None and image is not None:
            images.append(obs[image])
        action, state = agent.policy({key: x[None] for key, x in obs.items()}, state, False, generator)
        actions.append(action[0])
        result = envs.step_one(0, action[0])
        obs, done = result.observation, result.terminated or result.truncated
        total, length = total + result.reward, length + 1
    return total, length
