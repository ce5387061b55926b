"""Environment interaction (paper, Algorithm 1, lines 11-16): acting, and keeping what happens.

Every episode begins with a seed of its own, a function of the run's seed, the environment's index and the
number of the episode. So an interrupted episode is brought back by taking its recorded actions again, in any
simulator that is deterministic.
"""

import logging
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.policy_state import PolicyState
from dreamer.envs.vector import VectorEnv
from dreamer.replay.episode_file import Episode
from dreamer.training.checkpoint import pack_rng, unpack_rng
from dreamer.training.episode_builder import EpisodeBuilder

_logger = logging.getLogger(__name__)


def random_actions(spec: ActionSpec, n: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform actions `(n, A)`: in [-1, 1], or one-hot."""
    if not spec.discrete:
        return rng.uniform(-1, 1, (n, spec.size)).astype(np.float32)
    parts = [np.eye(size, dtype=np.float32)[rng.integers(size, size=n)] for size in spec.groups]
    return np.concatenate(parts, -1)


class Collector:
    """Steps the environments with the agent, or at random, and hands out finished episodes."""

    def __init__(self, envs: VectorEnv, agent: Agent, num_envs: int, seed: int):
        self.envs, self.agent, self.seed = envs, agent, seed
        self.rng = np.random.default_rng([seed, 1])
        self.generator = torch.Generator(agent.device).manual_seed(seed + 1)
        self.policy_state = agent.initial_state(num_envs)
        self.episode_numbers = [0] * num_envs
        self.builders = [self._begin(index) for index in range(num_envs)]

    def step(self, random: bool) -> tuple[int, list[EpisodeBuilder]]:
        """One decision in every environment. Returns simulator frames taken, and episodes that ended."""
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
        return random_actions(self.envs.spec.action, len(self.builders), self.rng)

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

    # -- what only collecting beside learning needs (`AsyncCollector`) -----------------------------------

    def begin_round(self, end: int) -> None:
        """Nothing to prepare: every decision is taken with the newest weights."""

    def check(self) -> None:
        """Nothing fails unseen."""

    def close(self) -> None:
        """Nothing to stop."""

    # -- keeping -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Random states, the filter's state, and the episodes in progress as tensors."""
        return {
            "rng": pack_rng(self.rng),
            "generator": self.generator.get_state(),
            "policy_state": self.policy_state.tensors(),
            "episode_numbers": self.episode_numbers,
            "unfinished": [_to_tensors(builder.episode()) for builder in self.builders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken, in the middle of episodes too."""
        self.rng = unpack_rng(state["rng"])
        self.generator.set_state(state["generator"].cpu())
        self.policy_state = PolicyState.of(state["policy_state"], self.agent.device)
        self.episode_numbers = list(state["episode_numbers"])
        for index, tensors in enumerate(state["unfinished"]):
            self._bring_back(index, {key: tensor.numpy() for key, tensor in tensors.items()})

    def _bring_back(self, index: int, episode: Episode) -> None:
        """Take the recorded actions again in one environment; begin anew if it ends up elsewhere."""
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
