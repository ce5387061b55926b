"""The state that an agent carries from one agent step to the next."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor


class Latent(Protocol):
    """A named tuple of tensors `(N, .)`, such as `State`."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self: ...
    def __iter__(self) -> Iterator[Any]: ...


L = TypeVar("L", bound=Latent)


class PolicyState(NamedTuple, Generic[L]):
    """What the agent knows of N environments, `latent` `(N, .)`, and the actions `(N, A)` that it took last.

    For Dreamer, `latent` is the posterior state.
    """

    latent: L
    action: Tensor

    def reset(self, index: int) -> "PolicyState[L]":
        """Return a state in which environment `index` is back at zeros: its next observation starts an episode."""
        keep = torch.ones(len(self.action), 1, device=self.action.device)
        keep[index] = 0
        return PolicyState(self.latent.map(lambda x: x * keep), self.action * keep)

    def tensors(self) -> list[Tensor]:
        """Return the tensors that a checkpoint keeps."""
        return [*self.latent, self.action]

    def with_tensors(self, tensors: list[Tensor]) -> "PolicyState[L]":
        """Return a state like this one, of `tensors` from a checkpoint."""
        saved = iter(tensors)
        latent = self.latent.map(lambda x: next(saved).to(x.device))
        return PolicyState(latent, next(saved).to(self.action.device))
