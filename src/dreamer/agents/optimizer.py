"""Adam with global-norm clipping, in the form the official code uses (TF2 tools.py:341-375)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Far on, where Adam's own bias corrections are 1 in float32, so that ours take their place.
_UNCORRECTED = 1e6
EPSILON = 1e-7


def laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient, in memory as the parameter is: a copy if it was not.

    On a GPU the fused Adam refuses any other strides, and which ones the gradient of a convolution gets is
    for cuDNN to choose.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


class Optimizer:
    """Clips the gradient of one network to a global norm and takes an Adam step.

    Keras places epsilon beside the uncorrected second moment, PyTorch divides that by its bias correction
    first. So PyTorch is told that it is far on, where it corrects nothing, and both corrections are part of
    the rate: lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t) (Kingma & Ba, end of Section 2).

    Rate, step count and the decision to leave an update out are tensors on the device: nothing waits for a
    GPU, and a CUDA graph may hold the whole.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, clip: float, eps: float = EPSILON):
        self.parameters = list(parameters)
        self.lr, self.clip = lr, clip
        device = self.parameters[0].device
        self.rate = torch.zeros((), device=device)
        self.steps = torch.zeros((), dtype=torch.float64, device=device)
        self.adam = torch.optim.Adam(
            self.parameters, lr=self.rate, eps=eps, fused=True, capturable=device.type == "cuda"
        )
        for parameter in self.parameters:
            self.adam.state[parameter] = {
                "step": torch.tensor(_UNCORRECTED, device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def gradients(self, loss: Tensor, retain_graph: bool = False) -> tuple[Tensor, ...]:
        """Gradients of `loss` by this network's parameters; other networks are only passed through."""
        # What took no part in the loss (the prior under the free nats) gets zeros, as in the official code.
        return torch.autograd.grad(loss, self.parameters, retain_graph=retain_graph, materialize_grads=True)

    @torch.no_grad()
    def apply(
        self, gradients: tuple[Tensor, ...], norm: Tensor | None = None, finite: Tensor | None = None
    ) -> Tensor:
        """Clip and update, unless `finite` (one bool) is given and false. Returns the norm before clipping.

        The global norm may be given if it is known.
        """
        norm = torch.nn.utils.get_total_norm(gradients) if norm is None else norm
        finite = torch.ones_like(norm, dtype=torch.bool) if finite is None else finite
        self.steps += finite
        beta1, beta2 = self.adam.defaults["betas"]
        rate = self.lr * (1 - beta2**self.steps).sqrt() / (1 - beta1**self.steps)
        self.rate.copy_(rate)
        scale = (self.clip / norm).clamp(max=1.0)
        clipped = torch._foreach_mul(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, clipped, strict=True):
            parameter.grad = laid_out_as(parameter, gradient)
        # The switch that `torch.amp.GradScaler` uses to leave a step out: 1 does so.
        self.adam.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Moments of every parameter, and the steps taken."""
        moments = [self.adam.state[parameter] for parameter in self.parameters]
        return {
            "exp_avg": [each["exp_avg"] for each in moments],
            "exp_avg_sq": [each["exp_avg_sq"] for each in moments],
            "steps": int(self.steps),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy in place, as a CUDA graph may already hold the tensors."""
        for index, parameter in enumerate(self.parameters):
            for key in ("exp_avg", "exp_avg_sq"):
                self.adam.state[parameter][key].copy_(state[key][index])
        self.steps.fill_(state["steps"])
