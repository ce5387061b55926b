"""The image decoder on a CPU, with quicker transposed convolutions, and with images that are compared as bytes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.fast.conv_transpose import conv_transpose
from dreamer.world_model.decoder import ImageDecoder
from dreamer.world_model.gaussian import HALF_LOG_TWO_PI


class FastImageDecoder(ImageDecoder):
    """An `ImageDecoder` with quicker methods."""

    def forward(self, feat: Tensor) -> Tensor:
        x = self.dense(feat.flatten(0, -2))[:, :, None, None]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ConvTranspose2d)
            x = conv_transpose(layer, F.relu(x) if number else x)
        return x.permute(0, 2, 3, 1).reshape(*feat.shape[:-1], *x.shape[2:], x.shape[1])

    def log_prob(self, feat: Tensor, image: Tensor) -> Tensor:
        mean = self(feat)
        error = SquaredError.apply(mean, image)
        return -0.5 * error - HALF_LOG_TWO_PI * mean[0, 0].numel()


class SquaredError(torch.autograd.Function):
    """Sum of (image / 255 - 0.5 - mean)² over pixels, `(B, T, H, W, C)` -> `(B, T)`.

    The uint8 image is compared as it is, without a float copy.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, image: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        error = torch.sub(mean.float(), image, alpha=1 / 255).add_(0.5)
        ctx.save_for_backward(error)
        ctx.dtype = mean.dtype
        return error.square().flatten(2).sum(-1)  # no matrix product: autocast would round it to bfloat16

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (error,) = ctx.saved_tensors
        scale = (2 * grad)[:, :, None, None, None]
        return (error * scale).to(ctx.dtype), None
