"""What acting remembers between two observations."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.world_model.state import State


class PolicyState(NamedTuple):
    """The posterior sample, and the action that was really taken, `(N, A)`."""

    latent: State
    action: Tensor

    def reset(self, index: int) -> "PolicyState":
        """Forget environment `index`: its next observation starts an episode."""
        keep = torch.ones(len(self.action), 1, device=self.action.device)
        keep[index] = 0
        return PolicyState(self.latent.map(lambda x: x * keep), self.action * keep)

    def tensors(self) -> list[Tensor]:
        """What a checkpoint keeps."""
        return [*self.latent, self.action]

    @classmethod
    def of(cls, tensors: list[Tensor], device: torch.device) -> "PolicyState":
        """The reverse of `tensors`."""
        *latent, action = (x.to(device) for x in tensors)
        return cls(State(*latent), action)
