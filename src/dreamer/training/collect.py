"""Environment interaction (paper, Algorithm 1, lines 13-19).

Every episode begins with a seed of its own, a function of the run's seed, the environment's index and the
number of the episode. So an interrupted episode is brought back by taking its recorded actions again, in any
simulator that is deterministic.
"""

import logging
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.behavior.exploration import random_action
from dreamer.envs.vector import VectorEnv
from dreamer.replay.episode_file import Episode
from dreamer.training.episode_builder import EpisodeBuilder

_logger = logging.getLogger(__name__)


class Collector:
    """Step the environments with the agent, or at random, and hand out finished episodes."""

    def __init__(self, envs: VectorEnv, agent: Agent, num_envs: int, seed: int):
        self.envs, self.agent, self.seed = envs, agent, seed
        self.generator = torch.Generator(agent.device).manual_seed(seed + 1)
        self.policy_state = agent.initial_state(num_envs)
        self.episode_numbers = [0] * num_envs
        self.builders = [self._begin(index) for index in range(num_envs)]

    def step(self, random: bool) -> tuple[int, list[EpisodeBuilder]]:
        """Take one agent step in every environment; return the simulator frames, and episodes that ended."""
        actions = self._random_actions() if random else self._policy_actions()
        finished, frames = [], 0
        for index, result in enumerate(self.envs.step(actions)):
            self.builders[index].add(actions[index], result)
            frames += result.frames
            if result.terminated or result.truncated:
                finished.append(self.builders[index])
                self._next_episode(index)
        return frames, finished

    def _random_actions(self) -> np.ndarray:
        return random_action(self.envs.spec.action, len(self.builders), self.generator).cpu().numpy()

    def _policy_actions(self) -> np.ndarray:
        newest = [builder.observation for builder in self.builders]
        obs = {key: np.stack([each[key] for each in newest]) for key in newest[0]}
        actions, self.policy_state = self.agent.policy(obs, self.policy_state, True, self.generator)
        return actions

    def _next_episode(self, index: int) -> None:
        self.episode_numbers[index] += 1
        self.policy_state = self.policy_state.reset(index)
        self.builders[index] = self._begin(index)

    def _begin(self, index: int) -> EpisodeBuilder:
        entropy = (self.seed, index, self.episode_numbers[index])
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        return EpisodeBuilder(self.envs.reset(index, seed), self.envs.spec.action.size)

    # -- what `AsyncCollector` needs in addition: here nothing runs in the background --------------------

    def begin_round(self, end: int) -> None:
        """Do nothing: every agent step is taken with the newest weights."""

    def check(self) -> None:
        """Do nothing: there is no thread that may have failed."""

    def close(self) -> None:
        """Do nothing: there is no thread to stop."""

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the random state, the filter's state, and the episodes in progress as tensors."""
        return {
            "generator": self.generator.get_state(),
            "policy_state": self.policy_state.tensors(),
            "episode_numbers": self.episode_numbers,
            "unfinished": [_to_tensors(builder.episode()) for builder in self.builders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken, in the middle of episodes too."""
        self.generator.set_state(state["generator"].cpu())
        self.policy_state = self.policy_state.with_tensors(state["policy_state"])
        self.episode_numbers = list(state["episode_numbers"])
        for index, tensors in enumerate(state["unfinished"]):
            self._replay(index, {key: tensor.numpy() for key, tensor in tensors.items()})

    def _replay(self, index: int, episode: Episode) -> None:
        """Take the recorded actions again in one environment; begin a new episode if the outcome differs."""
        self.builders[index] = self._begin(index)
        for action in episode["action"][1:]:
            self.builders[index].add(action, self.envs.step_one(index, action))
        again = self.builders[index].episode()
        if not all(np.array_equal(again[key], episode[key]) for key in episode):
            _logger.warning(
                "Environment %d does not repeat its episode exactly: going on with a new one.", index
            )
            self._next_episode(index)


def _to_tensors(episode: Episode) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in episode.items()}
