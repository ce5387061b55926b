"""Transposed convolutions of stride 2, each in the form that is quickest on a CPU.

- For a map of 1x1 it is a matrix product. The general kernel takes 100 times as long.
- With an even kernel it is a sub-pixel convolution (Shi et al. 2016): the pixels (2i + p, 2j + q) with the same
  parities (p, q) are an ordinary convolution of the input with every second weight of the kernel. So one convolution
  with four times the channels, half the kernel and stride 1 gives all pixels of a 2x2 block. The gradients are computed
  as those of the transposed convolution, which takes no longer.
- Otherwise the bias is added by rows of the image. oneDNN's kernel with a bias takes six times as long in bfloat16, and
  an addition by pixels, each of a few channels, takes twenty times as long as one by rows.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 2


def conv_transpose(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """`layer(x)`: `(N, C, h, w)` -> `(N, O, 2h + k - 2, 2w + k - 2)`."""
    assert layer.bias is not None
    if x.device.type != "cpu":
        return layer(x)
    # Compute in the precision that autocast would choose for a convolution.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    x, weight, bias = x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype)
    if x.shape[2:] == (1, 1):
        flat = weight.permute(0, 2, 3, 1)  # (C, k, k, O), as it lies in memory
        rows = (x.flatten(1) @ flat.flatten(1)).unflatten(-1, (*flat.shape[1:3], -1))  # (N, k, k, O)
        return add_by_rows(rows, bias).permute(0, 3, 1, 2)
    if weight.shape[-1] % STRIDE == 0:
        result = _SubPixel.apply(x, weight, bias)
        assert isinstance(result, Tensor)
        return result.permute(0, 3, 1, 2)
    rows = F.conv_transpose2d(x, weight, stride=STRIDE).permute(0, 2, 3, 1)
    return add_by_rows(rows, bias).permute(0, 3, 1, 2)


def add_by_rows(x: Tensor, bias: Tensor) -> Tensor:
    """`x + bias` for `(N, H, W, O)` and `(O,)`."""
    return (x.flatten(2) + bias.repeat(x.shape[2])).view(x.shape)


class _SubPixel(torch.autograd.Function):
    """Forward in blocks of 2x2 pixels, `(N, H, W, O)`; backward as a transposed convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, weight)
        outputs, half = weight.shape[1], weight.shape[-1] // STRIDE
        # (C, O, half, p, half, q) -> (p, q, O; C, half, half), mirrored, as a convolution reads forwards
        kernel = weight.unflatten(-1, (half, STRIDE)).unflatten(2, (half, STRIDE))
        kernel = kernel.flip(2, 4).permute(3, 5, 1, 0, 2, 4).flatten(0, 2)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        blocks = F.conv2d(x, kernel, bias.repeat(STRIDE**2), padding=half - 1)
        n, _, height, width = blocks.shape
        blocks = blocks.permute(0, 2, 3, 1).unflatten(-1, (STRIDE, STRIDE, outputs))
        return blocks.transpose(2, 3).reshape(n, STRIDE * height, STRIDE * width, outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        stride, padding, dilation = [STRIDE, STRIDE], [0, 0], [1, 1]
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            *(grad.permute(0, 3, 1, 2), x, weight, None, stride, padding, dilation),
            *(True, [0, 0], 1, [True, True, False]),
        )
        return grad_x, grad_weight, grad.flatten(2).sum((0, 1)).view(grad.shape[2:]).sum(0)
