"""A transposed convolution of stride 2, by whichever of two equal sums is quicker.

Of the output's pixels (2i + p, 2j + q), those with the same parities (p, q) are an ordinary convolution of
the input with every second weight of the kernel. So one convolution with four times the channels, half the
kernel and no stride gives all pixels of a 2x2 block at once (Shi et al. 2016, "sub-pixel convolution"). On a
CPU it takes a third of the time where the result has few channels, as an image has; elsewhere, and for the
gradients, the transposed convolution is as quick.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIDE = 2
FEW_CHANNELS = 4


def enlarge(x: Tensor, weight: Tensor) -> Tensor:
    """`(N, C, h, w)`, with `weight` `(C, O, k, k)` -> `(N, O, 2h + k - 2, 2w + k - 2)`, without bias."""
    few, even = weight.shape[1] <= FEW_CHANNELS, weight.shape[-1] % STRIDE == 0
    if x.device.type == "cpu" and few and even:
        if torch.is_autocast_enabled("cpu"):  # as autocast does for a convolution
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        result = SubPixel.apply(x, weight)
        assert isinstance(result, Tensor)
        return result.permute(0, 3, 1, 2)
    return F.conv_transpose2d(x, weight, stride=STRIDE)


class SubPixel(torch.autograd.Function):
    """Forward in blocks of 2x2 pixels, backward as the transposed convolution that it is.

    The result is channels last: `(N, H, W, O)`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, weight)
        outputs, half = weight.shape[1], weight.shape[-1] // STRIDE
        # (C, O, half, p, half, q) -> (p, q, O; C, half, half), mirrored, as a convolution reads forwards
        kernel = weight.unflatten(-1, (half, STRIDE)).unflatten(2, (half, STRIDE))
        kernel = kernel.flip(2, 4).permute(3, 5, 1, 0, 2, 4).flatten(0, 2)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        blocks = F.conv2d(x, kernel, padding=half - 1)
        n, _, height, width = blocks.shape
        blocks = blocks.permute(0, 2, 3, 1).unflatten(-1, (STRIDE, STRIDE, outputs))
        return blocks.transpose(2, 3).reshape(n, STRIDE * height, STRIDE * width, outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        stride, padding, dilation = [STRIDE, STRIDE], [0, 0], [1, 1]
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            *(grad.permute(0, 3, 1, 2), x, weight, None, stride, padding, dilation),
            *(True, [0, 0], 1, [True, True, False]),
        )
        return grad_x, grad_weight
