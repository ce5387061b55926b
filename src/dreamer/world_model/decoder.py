"""From features back to observations: q(o_t | s_t) (paper, Section 4; TF2 models.py:101-117).

A dense layer without activation gives 1024 numbers, seen as a map of 1x1; four transposed convolutions,
stride 2, kernels 5, 5, 6, 6, enlarge it 1 -> 5 -> 13 -> 30 -> 64 with 128, 64, 32, 3 channels. The output is
the mean of a Normal with variance 1.
"""

import itertools

import torch
from torch import Tensor, nn

from dreamer.errors import UserError
from dreamer.spec import EnvSpec
from dreamer.world_model.dense import DenseHead, glorot_, linear
from dreamer.world_model.encoder import STRIDE, conv_sizes
from dreamer.world_model.enlarge import enlarge
from dreamer.world_model.parts import Parts

CANONICAL_KERNELS = (5, 5, 6, 6)


def deconv_kernels(size: int) -> tuple[int, ...]:
    """Kernels that enlarge 1x1 to `size` in as many steps as the encoder has; 64 -> (5, 5, 6, 6)."""
    layers = len(conv_sizes(size)) - 1
    wish = (*CANONICAL_KERNELS[:2], *(6,) * (layers - 2))
    fitting = [k for k in itertools.product(range(3, 9), repeat=layers) if _grown(k) == size]
    if not fitting:
        raise UserError(f"The decoder cannot reach images of {size}x{size}: use 32, 64, 84, 96 or 128.")
    return min(fitting, key=lambda k: sum((a - b) ** 2 for a, b in zip(k, wish, strict=True)))


def _grown(kernels: tuple[int, ...]) -> int:
    size = 1
    for kernel in kernels:
        size = (size - 1) * STRIDE + kernel
    return size


class UnfoldFromPoint(nn.Module):
    """A transposed convolution of a 1x1 map, as the matrix product that it is.

    The general kernel takes 100 times as long for it on a CPU. `(N, C)` -> `(N, O, k, k)`, channels_last.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.shape = (kernel, kernel, outputs)
        limit = (6 / (kernel**2 * (inputs + outputs))) ** 0.5  # Glorot's, as for the convolution
        self.weight = nn.Parameter(torch.empty(inputs, *self.shape).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        grown = (x @ self.weight.flatten(1)).unflatten(-1, self.shape)
        return (grown + self.bias.to(grown.dtype)).permute(0, 3, 1, 2)


class ImageDecoder(nn.Module):
    """Features `(..., F)` -> the mean of an image `(..., H, W, C)`, about [-0.5, 0.5]."""

    def __init__(self, features: int, shape: tuple[int, int, int], depth: int):
        super().__init__()
        kernels = deconv_kernels(shape[0])
        count = len(kernels)
        widths = [depth * 2 ** (count - 2 - i) for i in range(count - 1)] + [shape[-1]]
        self.dense = linear(features, 32 * depth)
        self.unfold = UnfoldFromPoint(32 * depth, widths[0], kernels[0])
        pairs = zip(widths, widths[1:], kernels[1:], strict=False)
        layers = [nn.ConvTranspose2d(i, o, k, STRIDE) for i, o, k in pairs]
        self.layers = nn.ModuleList(glorot_(layer) for layer in layers)
        self.layers.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, feat: Tensor) -> Tensor:
        x = self.unfold(self.dense(feat.flatten(0, -2)))
        for layer in self.layers:
            assert isinstance(layer, nn.ConvTranspose2d)
            assert layer.bias is not None
            x = enlarge(x.relu_(), layer.weight)
            # The bias apart: with it, oneDNN is six times as slow for the first of these in bfloat16.
            x = x.add_(layer.bias.to(x.dtype).view(-1, 1, 1))
        return x.permute(0, 2, 3, 1).reshape(*feat.shape[:-1], *x.shape[2:], x.shape[1])


class Decoder(nn.Module):
    """One decoder per observation key: `(..., F)` -> means of the same shapes as the observations."""

    def __init__(self, features: int, spec: EnvSpec, depth: int, units: int):
        super().__init__()
        images = {key: ImageDecoder(features, shape, depth) for key, shape in spec.images.items()}
        vectors = {key: DenseHead(features, 3, units, size) for key, size in spec.vectors.items()}
        self.parts = Parts({**images, **vectors})

    @property
    def draws(self) -> bool:
        """Whether there is anything to decode."""
        return len(self.parts) > 0

    def forward(self, feat: Tensor) -> dict[str, Tensor]:
        return {key: part(feat) for key, part in self.parts.items()}
