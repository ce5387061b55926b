"""Environment interaction (paper, Algorithm 1, lines 13 to 18).

`Trainer` adds the episodes to the dataset (line 19).

Every episode begins with a seed of its own, a function of the run's seed, the environment's index and the
number of the episode. So an interrupted episode is brought back by taking its recorded actions again, in any
simulator that is deterministic.

Where an environment fails, its episode is broken off, the environment is made anew, and the next episode has
another number, so another seed. The others go on.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.behavior.exploration import random_action
from dreamer.envs.failures import EnvError
from dreamer.envs.vector import VectorEnv
from dreamer.envs.worker import StepResult
from dreamer.replay.episode_file import Episode
from dreamer.training.episode_builder import EpisodeBuilder
from dreamer.training.failures import survive

_logger = logging.getLogger(__name__)


@dataclass
class Step:
    """What happened in one agent step of every environment."""

    frames: int = 0
    """Simulator frames."""
    finished: list[EpisodeBuilder] = field(default_factory=list)
    """Episodes that ended."""
    broken: list[EpisodeBuilder] = field(default_factory=list)
    """Episodes that a failure broke off, as they were before it."""
    failures: int = 0
    """Failures of environments."""
    fatal: EnvError | None = None
    """The failure that ends the run, possibly before any action of this step."""


class Collector:
    """Step the environments with the agent, or at random, and hand out finished episodes."""

    def __init__(self, envs: VectorEnv, agent: Agent, num_envs: int, seed: int):
        self.envs, self.agent, self.seed = envs, agent, seed
        self.generator = torch.Generator(agent.device).manual_seed(seed + 1)
        self.policy_state = agent.initial_state(num_envs)
        self.episode_numbers = [0] * num_envs
        self.failures_in_a_row = [0] * num_envs
        self.builders: list[EpisodeBuilder | None] = [None] * num_envs
        self._step = Step()

    def step(self, random: bool) -> Step:
        """Begin the episodes that are due, and take one agent step in every environment."""
        self._begin_episodes()  # line 13
        if self._step.fatal is None:
            self._act(random)  # lines 15 to 18
        step, self._step = self._step, Step()
        return step

    def _begin_episodes(self) -> None:
        """Begin an episode wherever none is in progress, unless there are too many failures in a row."""
        for index in range(len(self.builders)):
            while self.builders[index] is None and self._step.fatal is None:
                try:
                    self.builders[index] = self._begin(index)
                except EnvError as failure:
                    self._break_off(index, failure)

    def _act(self, random: bool) -> None:
        actions, results = self._take_steps(random)
        for index, result in enumerate(results):
            if isinstance(result, EnvError):
                self._break_off(index, result)
                continue
            builder = self._builder(index)
            builder.add(actions[index], result)
            self._step.frames += result.frames
            if result.terminated or result.truncated:
                self._step.finished.append(builder)
                self.failures_in_a_row[index] = 0
                self._next_episode(index)

    def _take_steps(self, random: bool) -> tuple[Any, list[StepResult | EnvError]]:
        """Take an agent step in every environment; return the actions, and what each led to."""
        actions = self._random_actions() if random else self._policy_actions()  # lines 15 to 17
        return actions, self.envs.step(actions)  # line 18

    def _break_off(self, index: int, failure: EnvError) -> None:
        """Count the failure, and let a new episode replace the one that failed."""
        if (builder := self.builders[index]) is not None:
            self._step.broken.append(builder)
        self._next_episode(index)
        self._step.failures += 1
        self.failures_in_a_row[index] += 1
        try:
            survive(failure, self.failures_in_a_row[index], self.envs.config.env_failures)
        except EnvError as fatal:
            self._step.fatal = fatal
            self.failures_in_a_row[index] = 0  # The run that goes on from here may fail as often again.

    def _random_actions(self) -> np.ndarray:
        return random_action(self.envs.spec.action, len(self.builders), self.generator).cpu().numpy()

    def _policy_actions(self) -> np.ndarray:
        newest = [self._builder(index).observation for index in range(len(self.builders))]
        obs = {key: np.stack([each[key] for each in newest]) for key in newest[0]}
        actions, self.policy_state = self.agent.policy(obs, self.policy_state, True, self.generator)
        return actions

    def _builder(self, index: int) -> EpisodeBuilder:
        """Return the episode in progress."""
        builder = self.builders[index]
        assert builder is not None
        return builder

    def _next_episode(self, index: int) -> None:
        """Close the episode of an environment: the next step begins another, with the next number and another seed."""
        self.episode_numbers[index] += 1
        self.policy_state = self.policy_state.reset(index)
        self.builders[index] = None

    def _begin(self, index: int) -> EpisodeBuilder:
        entropy = (self.seed, index, self.episode_numbers[index])
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        return EpisodeBuilder(self.envs.reset(index, seed), self.envs.spec.action.size)

    # -- for `AsyncCollector`, and what it has besides: here nothing runs in the background --------------

    def load_acting_state(self, weights: dict[str, Any]) -> None:
        """Act with these weights from now on."""
        self.agent.load_acting_state(weights)

    def begin_round(self, end: int) -> None:
        """Do nothing here: no agent step is taken ahead, with older weights."""

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
            "failures_in_a_row": self.failures_in_a_row,
            "unfinished": [None if builder is None else _to_tensors(builder) for builder in self.builders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken, in the middle of episodes too."""
        self.generator.set_state(state["generator"].cpu())
        self.policy_state = self.policy_state.with_tensors(state["policy_state"])
        self.episode_numbers = list(state["episode_numbers"])
        self.failures_in_a_row = list(state.get("failures_in_a_row", self.failures_in_a_row))
        for index, tensors in enumerate(state["unfinished"]):
            self.builders[index] = None
            if tensors is not None:
                self._replay(index, {key: tensor.numpy() for key, tensor in tensors.items()})

    def _replay(self, index: int, episode: Episode) -> None:
        """Take the recorded actions again in one environment; begin a new episode if the outcome differs."""
        try:
            builder = self.builders[index] = self._begin(index)
            for action in episode["action"][1:]:
                builder.add(action, self.envs.step_one(index, action))
        except EnvError as failure:
            self._break_off(index, failure)
            return
        again = builder.episode()
        if not all(np.array_equal(again[key], episode[key]) for key in episode):
            _logger.warning(
                "Environment %d does not repeat its episode exactly: going on with a new one.", index
            )
            self._next_episode(index)


def _to_tensors(builder: EpisodeBuilder) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in builder.episode().items()}
