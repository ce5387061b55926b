"""The episode in progress (for the alignment of its elements see `dreamer.types`)."""

from typing import Any

import numpy as np
import torch

from dreamer.envs.vector import StepResult
from dreamer.replay.episode_file import Episode

NOT_OBSERVED = ("action", "reward", "discount")


class EpisodeBuilder:
    """Collect what happens from a reset on; element t holds the action that LED to observation t."""

    def __init__(self, observation: dict[str, np.ndarray], action_size: int):
        self._steps: dict[str, list[np.ndarray]] = {key: [value] for key, value in observation.items()}
        self._steps["action"] = [np.zeros(action_size, np.float32)]
        self._steps["reward"] = [np.array(0, np.float32)]
        self._steps["discount"] = [np.array(1, np.float32)]
        self.total_return = 0.0

    def add(self, action: np.ndarray, result: StepResult) -> None:
        """Append what `action` led to."""
        for key, value in result.observation.items():
            self._steps[key].append(value)
        self._steps["action"].append(np.asarray(action, np.float32))
        self._steps["reward"].append(np.array(result.reward, np.float32))
        # A time limit is not an end: its discount stays 1.
        self._steps["discount"].append(np.array(0 if result.terminated else 1, np.float32))
        self.total_return += result.reward

    def __len__(self) -> int:
        """Return the number of agent steps so far."""
        return len(self._steps["action"]) - 1

    @property
    def observation(self) -> dict[str, np.ndarray]:
        """The newest observation."""
        return {key: values[-1] for key, values in self._steps.items() if key not in NOT_OBSERVED}

    def episode(self) -> Episode:
        """Return all elements so far, `(agent steps + 1, ...)`."""
        return {key: np.stack(values) for key, values in self._steps.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the episode as tensors, and its return, which is exact where the sum of rewards is rounded."""
        episode = {key: torch.from_numpy(array) for key, array in self.episode().items()}
        return {"episode": episode, "total_return": self.total_return}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "EpisodeBuilder":
        """Return the builder whose `state_dict` this is."""
        builder = cls({}, 0)
        builder._steps = {key: list(tensor.numpy()) for key, tensor in state["episode"].items()}
        builder.total_return = state["total_return"]
        return builder
