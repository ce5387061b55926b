"""Adam with global-norm clipping, in the form the official code uses (TF2 tools.py:341-375)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Optimizer:
    """Clips the gradient of one network to a global norm and takes an Adam step.

    Keras places epsilon beside the uncorrected second moment, PyTorch divides that by its bias correction
    first. Scaling epsilon by 1 / sqrt(1 - beta2^t) makes the two the same (Kingma & Ba, end of Section 2).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, clip: float, eps: float):
        self.parameters = list(parameters)
        self.clip, self.eps = clip, eps
        self.adam = torch.optim.Adam(self.parameters, lr=lr, eps=eps, fused=True)
        self.steps = 0

    def gradients(self, loss: Tensor, retain_graph: bool = False) -> tuple[Tensor, ...]:
        """Gradients of `loss` by this network's parameters; other networks are only passed through."""
        # What took no part in the loss (the prior under the free nats) gets zeros, as in the official code.
        return torch.autograd.grad(loss, self.parameters, retain_graph=retain_graph, materialize_grads=True)

    def apply(self, gradients: tuple[Tensor, ...], norm: Tensor | None = None) -> Tensor:
        """Clip and update. Returns the global norm before clipping; it may be given if it is known."""
        norm = torch.nn.utils.get_total_norm(gradients) if norm is None else norm
        self.steps += 1
        scale = (self.clip / norm).clamp(max=1.0)
        clipped = torch._foreach_mul(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, clipped, strict=True):
            parameter.grad = gradient
        beta2 = self.adam.defaults["betas"][1]
        self.adam.param_groups[0]["eps"] = self.eps / (1 - beta2**self.steps) ** 0.5
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict:
        return {"adam": self.adam.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.adam.load_state_dict(state["adam"])
        self.steps = state["steps"]
