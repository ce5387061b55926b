"""Several environments side by side."""

from dataclasses import dataclass

import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs.make import make_env
from dreamer.envs.spec import EnvSpec, spec_of
from dreamer.errors import UserError


class WorkerError(UserError):
    """An environment's process died, hung or raised; the message has its index and the cause."""


@dataclass(frozen=True)
class StepResult:
    """What one environment answers to one action."""

    observation: dict[str, np.ndarray]
    reward: float
    terminated: bool
    truncated: bool
    frames: int
    """Simulator frames this decision took."""


class VectorEnv:
    """`num_envs` environments, stepped together and reset one by one."""

    def __init__(self, config: EnvConfig, num_envs: int = 1, seed: int = 0) -> None:
        self._envs = [make_env(config, seed + index) for index in range(num_envs)]
        self.spec: EnvSpec = spec_of(self._envs[0])

    def reset(self, index: int, seed: int) -> dict[str, np.ndarray]:
        """Begin a new episode in one environment and return its first observation."""
        return self._envs[index].reset(seed=seed)[0]

    def step(self, actions: np.ndarray) -> list[StepResult]:
        """Take one decision in each environment; `actions` is `(num_envs, A)`."""
        results = []
        for env, action in zip(self._envs, actions, strict=True):
            observation, reward, terminated, truncated, info = env.step(action)
            results.append(StepResult(observation, float(reward), terminated, truncated, info["frames"]))
        return results

    def close(self) -> None:
        """Stop every environment."""
        for env in self._envs:
            env.close()
