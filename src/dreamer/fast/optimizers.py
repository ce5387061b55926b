"""Optimizers that leave no core idle, and on a GPU never wait for it."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

from dreamer.agents.optimizers import BETA1, BETA2, EPSILON, Adam, Gradients, Optimizers
from dreamer.types import Metrics

_FAR_ON = 1e6
"""A step at which the bias corrections of `torch.optim.Adam` are 1 in float32."""


class FastAdam(Adam):
    """The same step in one kernel for all parameters.

    `torch.optim.Adam` divides by its own bias corrections before it adds epsilon. It is told that it is far on, where
    they are 1, and both corrections are part of the rate. A tensor on the device decides whether the step is taken
    (`found_inf`, the switch of `torch.amp.GradScaler`), so that nothing waits and a CUDA graph may hold the whole.
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
            step = torch.tensor(_FAR_ON, device=device)
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
    """Optimizers that may `begin` with the world model's gradient, in a thread, while behavior learning goes on.

    A gradient step is thousands of operations, most of them too small to share between cores. The world model's
    gradient and all of behavior learning start from the same posterior states and need nothing of each other. On half
    of the cores each they take less time, and every number stays as it is.
    """

    _thread: ThreadPoolExecutor | None = None
    _begun: Future[dict[str, Gradients]] | None = None
    _names: frozenset[str] = frozenset()
    _cores = 1

    def begin(self, losses: Mapping[str, Tensor]) -> None:
        """Take the gradients of losses that `step` will be given, too."""
        self._names, self._cores = frozenset(losses), torch.get_num_threads()
        if self._cores < 2 or any(loss.is_cuda for loss in losses.values()):
            self._begun = Future()
            self._begun.set_result(self._gradients(losses))
            return
        # PyTorch takes a new thread's number of cores over from the last one set anywhere: have that done first.
        self._thread = self._thread or ThreadPoolExecutor(1, "backward", initializer=torch.get_num_threads)
        self._begun = self._thread.submit(self._on_cores, self._cores // 2, dict(losses))
        torch.set_num_threads(self._cores - self._cores // 2)

    def _on_cores(self, cores: int, losses: Mapping[str, Tensor]) -> dict[str, Gradients]:
        torch.set_num_threads(cores)  # of this thread alone
        return self._gradients(losses)

    def step(self, losses: Mapping[str, Tensor]) -> Metrics:
        if self._begun is None:
            return super().step(losses)
        try:
            gradients = self._gradients({name: losses[name] for name in losses if name not in self._names})
            return self.apply(losses, self._begun.result() | gradients)
        finally:
            self._begun.exception()  # wait: nothing may go on behind an error of this thread
            self._begun = None
            torch.set_num_threads(self._cores)
