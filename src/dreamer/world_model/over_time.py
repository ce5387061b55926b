"""Dense layers in a loop over time: weights cast once, and their gradient formed once for all steps.

Left to itself, autograd forms a weight's gradient anew at every step of a loop, a thin matrix product each,
and adds them up. Here the backward pass of a step only notes its input and the gradient of its output; after
all steps one product over all their rows gives the weight's gradient. It is the same sum, and under autocast
a more exact one: rounded to bfloat16 once, not at every step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = Callable[[Tensor], Tensor]


def over_time(weight: Tensor, bias: Tensor | None = None) -> Layer:
    """The layer `x -> weight x + bias` for one loop over time, in the precision of the loop."""
    dtype = _loop_dtype(weight)
    if not (weight.requires_grad and torch.is_grad_enabled()):
        cast, cast_bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        return lambda x: F.linear(x.to(dtype), cast, cast_bias)
    steps: list[tuple[Tensor, Tensor]] = []
    cast, cast_bias = _AllSteps.apply(steps, dtype, weight, bias)
    return lambda x: _Step.apply(steps, x.to(dtype), cast, cast_bias)


def linear_over_time(layer: nn.Linear, learns: bool = True) -> Layer:
    """A `Linear` layer for one loop over time; one that does not learn only passes gradients on."""
    if learns:
        return over_time(layer.weight, layer.bias)
    return over_time(layer.weight.detach(), layer.bias.detach())


def _loop_dtype(weight: Tensor) -> torch.dtype:
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


class _AllSteps(torch.autograd.Function):
    """Weight and bias on their way into a loop; on the way back, their gradients from all of its steps."""

    @staticmethod
    def forward(ctx: Any, steps: list, dtype: torch.dtype, weight: Tensor, bias: Tensor | None):
        ctx.set_materialize_grads(False)  # the steps send nothing this way but what lies in `steps`
        ctx.steps, ctx.dtype, ctx.has_bias = steps, weight.dtype, bias is not None
        return weight.to(dtype, copy=True), None if bias is None else bias.to(dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *_: None):
        inputs, outputs = (torch.cat(rows) for rows in zip(*ctx.steps, strict=True))
        ctx.steps.clear()
        weight = (outputs.t() @ inputs).to(ctx.dtype)
        return None, None, weight, outputs.sum(0, dtype=ctx.dtype) if ctx.has_bias else None


class _Step(torch.autograd.Function):
    """One application `(..., inputs)` -> `(..., outputs)`; its rows are left for `_AllSteps`."""

    @staticmethod
    def forward(ctx: Any, steps: list, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.steps = steps
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        x, weight = ctx.saved_tensors
        ctx.steps.append((x.flatten(0, -2), grad.flatten(0, -2)))
        return None, grad @ weight if ctx.needs_input_grad[1] else None, None, None
