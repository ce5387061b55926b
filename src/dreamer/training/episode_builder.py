"""The episode in progress (alignment: see docs/architecture.md)."""

from typing import Any

import numpy as np
import torch

from dreamer.envs.vector import StepResult
from dreamer.replay.episode_file import Episode

Observation = dict[str, np.ndarray]


class EpisodeBuilder:
    """Collects what happens from a reset on; element t holds the action that LED to observation t."""

    def __init__(self, observation: Observation, action_size: int):
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
        # A time limit is no end: what would have come after it is worth as much as before.
        self._steps["discount"].append(np.array(0 if result.terminated else 1, np.float32))
        self.total_return += result.reward

    def __len__(self) -> int:
        """Decisions taken so far."""
        return len(self._steps["action"]) - 1

    @property
    def observation(self) -> Observation:
        """The newest observation."""
        own = ("action", "reward", "discount")
        return {key: values[-1] for key, values in self._steps.items() if key not in own}

    @property
    def actions(self) -> list[np.ndarray]:
        """The actions taken so far, without the zero of the reset."""
        return self._steps["action"][1:]

    def episode(self) -> Episode:
        """All elements so far, `(decisions + 1, ...)`."""
        return {key: np.stack(values) for key, values in self._steps.items()}

    def state_dict(self) -> dict[str, Any]:
        """The episode as tensors, and its return, which is more precise than their sum."""
        episode = {key: torch.from_numpy(array) for key, array in self.episode().items()}
        return {"episode": episode, "total_return": self.total_return}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "EpisodeBuilder":
        """The reverse of `state_dict`."""
        builder = cls({}, 0)
        builder._steps = {key: list(tensor.numpy()) for key, tensor in state["episode"].items()}
        builder.total_return = state["total_return"]
        return builder
