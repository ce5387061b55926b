"""One Adam per network, with global-norm clipping (paper, Appendix A; TF2 tools.py:341-375).

    m ← β1 m + (1 - β1) g,   v ← β2 v + (1 - β2) g²
    θ ← θ - lr_t m / (√v + ε),   lr_t = lr √(1 - β2^t) / (1 - β1^t)         (Kingma & Ba, end of Section 2)

Keras places ε beside the uncorrected √v, as here; `torch.optim.Adam` divides v by its bias correction first.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.config import OptimizerConfig
from dreamer.types import Metrics

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7

Gradients = tuple[Tensor, ...]


class Adam:
    """Adam for the parameters of one network, in place."""

    def __init__(self, parameters: list[nn.Parameter], lr: float):
        self.parameters, self.lr = parameters, lr

    @cached_property
    def m(self) -> list[Tensor]:
        """First moments, made at the first step, on the device of the parameters."""
        return [torch.zeros_like(parameter) for parameter in self.parameters]

    @cached_property
    def v(self) -> list[Tensor]:
        """Second moments."""
        return [torch.zeros_like(parameter) for parameter in self.parameters]

    @cached_property
    def steps(self) -> Tensor:
        """Steps taken so far, t."""
        return torch.zeros((), dtype=torch.float64, device=self.parameters[0].device)

    @property
    def rate(self) -> Tensor:
        """The learning rate with both bias corrections, lr_t."""
        return self.lr * (1 - BETA2**self.steps).sqrt() / (1 - BETA1**self.steps)

    def step(self, gradients: Gradients, scale: Tensor, finite: Tensor) -> None:
        """Descend by the gradient `scale * gradients`, unless something in this update is not `finite`."""
        if not finite:
            return
        self.steps += 1
        rate = self.rate.float()
        for parameter, gradient, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            g = scale * gradient
            m.lerp_(g, 1 - BETA1)
            v.lerp_(g.square(), 1 - BETA2)
            parameter -= rate * m / (v.sqrt() + EPSILON)

    def state_dict(self) -> dict[str, Any]:
        return {"m": self.m, "v": self.v, "steps": int(self.steps)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in place: a CUDA graph may hold the tensors already."""
        for ours, saved in ((self.m, state["m"]), (self.v, state["v"])):
            for tensor, value in zip(ours, saved, strict=True):
                tensor.copy_(value)
        self.steps.fill_(state["steps"])


class Optimizers:
    """An Adam for each loss, by name; the networks of a step change together, or none does."""

    def __init__(self, networks: Mapping[str, list[nn.Parameter]], config: OptimizerConfig):
        rates = {"model": config.model_lr, "decoder": config.model_lr}
        rates |= {"actor": config.actor_lr, "value": config.value_lr}
        self.optimizers = {name: Adam(list(x), rates[name]) for name, x in networks.items()}
        self.grad_clip = config.grad_clip
        self.average: Callable[[Gradients], Gradients] = lambda tensors: tensors
        """The mean over all processes of a data-parallel run; with one process the tensors themselves."""

    @property
    def steps(self) -> Tensor:
        """Updates taken so far, without skipped ones, as a scalar on the device: reading it waits for nothing."""
        return next(iter(self.optimizers.values())).steps

    @property
    def grad_step(self) -> int:
        """The same as a number; reading it waits for the device."""
        return int(self.steps)

    @grad_step.setter
    def grad_step(self, number: int) -> None:
        self.steps.fill_(number)

    def gradients(self, losses: Mapping[str, Tensor]) -> dict[str, Gradients]:
        """Differentiate each loss by the parameters of its own network.

        Parameters that the loss does not use get zeros. Gradients flow through other networks without training them.
        """
        last = list(losses)[-1] if losses else None
        return {
            name: torch.autograd.grad(
                loss, self.optimizers[name].parameters, retain_graph=name != last, materialize_grads=True
            )
            for name, loss in losses.items()
        }

    @torch.no_grad()
    def step(self, losses: Mapping[str, Tensor], gradients: Mapping[str, Gradients] | None = None) -> Metrics:
        """Differentiate each loss by its own network, clip the gradients, and change the networks that have a loss.

        Each network's gradient is scaled down to a global norm of `grad_clip` if its norm is larger. If any loss or
        gradient is not finite no network changes, and the metric `skipped` is 1. `gradients` may be given if they were
        taken before.
        """
        gradients = self.gradients(losses) if gradients is None else gradients
        gradients = {name: self.average(gradient) for name, gradient in gradients.items()}
        norms = {name: torch.nn.utils.get_total_norm(gradient) for name, gradient in gradients.items()}
        scalars = self.average(tuple(loss.detach() for loss in losses.values()))
        finite = torch.stack([*scalars, *norms.values()]).isfinite().all()
        for name, gradient in gradients.items():
            self.optimizers[name].step(gradient, (self.grad_clip / norms[name]).clamp(max=1.0), finite)
        return {f"{name}/grad_norm": norm for name, norm in norms.items()} | {"skipped": (~finite).float()}

    def state_dict(self) -> dict[str, Any]:
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
