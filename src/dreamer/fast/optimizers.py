"""Optimizers that use all cores, and never wait for a GPU."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

from dreamer.agents.optimizers import BETA1, BETA2, EPSILON, Adam, Gradients, Optimizers
from dreamer.types import Metrics

_LATE_STEP = 1e6
"""A step at which the bias corrections of `torch.optim.Adam` are 1 in float32."""


class FastAdam(Adam):
    """The same step in one kernel for all parameters.

    `torch.optim.Adam` divides by its own bias corrections before it adds epsilon. Here its count of steps is set so
    high that these are 1, and the learning rate contains both corrections. A tensor on the device decides whether the
    step is taken (`found_inf`, which `torch.amp.GradScaler` uses). So nothing waits, and a CUDA graph can hold the
    whole step.
    """

    @cached_property
    def fused(self) -> torch.optim.Adam:
        """PyTorch's optimizer, on our moments."""
        device = self.parameters[0].device
        lr, betas = torch.zeros((), device=device), (BETA1, BETA2)
        capturable = device.type == "cuda"
        adam = torch.optim.Adam(
            self.parameters, lr=lr, betas=betas, eps=EPSILON, fused=True, capturable=capturable
        )
        for parameter, m, v in zip(self.parameters, self.m, self.v, strict=True):
            step = torch.tensor(_LATE_STEP, device=device)
            adam.state[parameter] = {"step": step, "exp_avg": m, "exp_avg_sq": v}
        return adam

    def step(self, gradients: Gradients, scale: Tensor, finite: Tensor) -> None:
        self.steps += finite
        self.fused.param_groups[0]["lr"].copy_(self.rate)
        clipped = torch._foreach_mul(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, clipped, strict=True):
            parameter.grad = _laid_out_as(parameter, gradient)
        self.fused.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.fused.step()
        self.fused.zero_grad(set_to_none=True)


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Copy the gradient into the parameter's memory layout if cuDNN has chosen another; the fused kernel needs it."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


class FastOptimizers(Optimizers):
    """Optimizers that can `begin` with the world model's gradient, in a thread, while behavior learning goes on.

    A gradient step is thousands of operations, and most of them are too small to be shared between cores. The world
    model's gradient and behavior learning do not need each other's results. So each gets half of the cores, which takes
    less time and changes no number.
    """

    _thread: ThreadPoolExecutor | None = None
    _begun: Future[dict[str, Gradients]] | None = None
    _names: frozenset[str] = frozenset()
    _cores = 1

    def begin(self, losses: Mapping[str, Tensor]) -> None:
        """Begin to take the gradients of `losses`; the next call of `step` gets the same losses among others."""
        self._names, self._cores = frozenset(losses), torch.get_num_threads()
        if self._cores < 2 or any(loss.is_cuda for loss in losses.values()):
            self._begun = Future()
            self._begun.set_result(self.gradients(losses))
            return
        # A new thread first takes over the number of cores that was last set in any thread: let it do so at its start.
        self._thread = self._thread or ThreadPoolExecutor(1, "backward", initializer=torch.get_num_threads)
        self._begun = self._thread.submit(self._on_cores, self._cores // 2, dict(losses))
        torch.set_num_threads(self._cores - self._cores // 2)

    def _on_cores(self, cores: int, losses: Mapping[str, Tensor]) -> dict[str, Gradients]:
        torch.set_num_threads(cores)  # of this thread alone
        return self.gradients(losses)

    def step(self, losses: Mapping[str, Tensor], gradients: Mapping[str, Gradients] | None = None) -> Metrics:
        if self._begun is None:
            return super().step(losses, gradients)
        try:
            others = self.gradients({name: losses[name] for name in losses if name not in self._names})
            return super().step(losses, self._begun.result() | others)
        finally:
            self._begun.exception()  # waits: after an error here, the other thread must not go on
            self._begun = None
            torch.set_num_threads(self._cores)
