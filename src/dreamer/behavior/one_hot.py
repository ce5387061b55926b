"""One-hot actions with straight-through gradients (paper, Appendix A; TF2 tools.py:278-284)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class OneHot:
    """Independent categoricals, `logits` `(..., A)` being those of all `groups` side by side."""

    logits: Tensor
    groups: tuple[int, ...]

    def sample(self, noise: Tensor) -> Tensor:
        """One-hot vectors by the Gumbel-max rule; the gradient is that of the probabilities."""
        pairs = zip(self._split(self.logits), self._split(noise), strict=True)
        return torch.cat([_straight_through(logits, logits + gumbel) for logits, gumbel in pairs], -1)

    def mode(self, noise: Tensor) -> Tensor:
        """The most likely one-hot vectors; exact, the noise is not needed."""
        del noise
        return torch.cat([_straight_through(logits, logits) for logits in self._split(self.logits)], -1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability `(...)` of one-hot vectors `(..., A)`."""
        pairs = zip(self._split(self.logits), self._split(action), strict=True)
        return torch.stack([(a * F.log_softmax(x, -1)).sum(-1) for x, a in pairs]).sum(0)

    def entropy(self, noise: Tensor) -> Tensor:
        """Exact entropy `(...)`, in nats; the noise is not needed."""
        del noise
        logs = [F.log_softmax(x, -1) for x in self._split(self.logits)]
        return -torch.stack([(x.exp() * x).sum(-1) for x in logs]).sum(0)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split(self.groups, -1)


def _straight_through(logits: Tensor, score: Tensor) -> Tensor:
    probs = F.softmax(logits, -1)
    hard = F.one_hot(score.argmax(-1), logits.shape[-1]).to(probs.dtype)
    return hard + (probs - probs.detach())  # this order keeps the numbers exactly 0 and 1
