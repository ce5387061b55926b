"""What an agent carries from one agent step to the next."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.world_model.rssm import State


class PolicyState(NamedTuple):
    """The posterior state `(N, .)` of N environments, and the actions `(N, A)` that were taken in it."""

    latent: State
    action: Tensor

    def reset(self, index: int) -> "PolicyState":
        """Set environment `index` back to zeros: its next observation starts an episode."""
        keep = torch.ones(len(self.action), 1, device=self.action.device)
        keep[index] = 0
        return PolicyState(self.latent.map(lambda x: x * keep), self.action * keep)

    def tensors(self) -> list[Tensor]:
        """Return what a checkpoint keeps."""
        return [*self.latent, self.action]

    @classmethod
    def from_tensors(cls, tensors: list[Tensor], device: torch.device) -> "PolicyState":
        """Make the state again from `tensors`."""
        *latent, action = (x.to(device) for x in tensors)
        return cls(State(*latent), action)
