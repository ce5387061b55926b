"""From features back to observations: q(o_t | s_t) (paper, Section 4; TF2 models.py:101-117).

A dense layer without activation gives 1024 numbers, seen as a map of 1x1. Four transposed convolutions, stride 2,
kernels 5, 5, 6, 6, enlarge it 1 -> 5 -> 13 -> 30 -> 64 with 128, 64, 32, 3 channels. A ReLU follows each but
the last, whose output is the mean of a Normal with variance 1.
"""

import itertools

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.types import Batch, EnvSpec
from dreamer.world_model.encoder import STRIDE, conv_sizes, preprocess_image
from dreamer.world_model.gaussian import unit_log_prob
from dreamer.world_model.mlp import MLP, glorot_, linear

VECTOR_LAYERS = 3
CANONICAL_KERNELS = (5, 5, 6, 6)


def deconv_kernels(size: int) -> tuple[int, ...]:
    """Return kernels that enlarge 1x1 to `size` in as many layers as the encoder has; 64 -> (5, 5, 6, 6).

    Of all that fit, they are the nearest to those of 64. Kernels of 3 to 8 reach every size that the encoder takes.
    """
    layers = len(conv_sizes(size)) - 1
    wish = (*CANONICAL_KERNELS[:2], *(6,) * (layers - 2))
    fitting = [k for k in itertools.product(range(3, 9), repeat=layers) if _final_size(k) == size]
    return min(fitting, key=lambda k: sum((a - b) ** 2 for a, b in zip(k, wish, strict=True)))


def _final_size(kernels: tuple[int, ...]) -> int:
    size = 1
    for kernel in kernels:
        size = (size - 1) * STRIDE + kernel
    return size


class ImageDecoder(nn.Module):
    """Features `(..., F)` -> the mean of an image `(..., H, W, C)`, about [-0.5, 0.5]."""

    def __init__(self, features: int, shape: tuple[int, int, int], depth: int):
        super().__init__()
        kernels = deconv_kernels(shape[0])
        widths = [32 * depth, *(depth * 2**i for i in reversed(range(len(kernels) - 1))), shape[-1]]
        self.dense = linear(features, widths[0])
        sizes = zip(widths, widths[1:], kernels, strict=False)
        layers = [nn.ConvTranspose2d(i, o, kernel, STRIDE) for i, o, kernel in sizes]
        self.layers = nn.ModuleList(glorot_(layer) for layer in layers)
        self.layers.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, feat: Float[Tensor, "*N F"]) -> Float[Tensor, "*N H W C"]:
        x = self.dense(feat.flatten(0, -2))[:, :, None, None]  # (N, 32 depth, 1, 1), N = B T
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        x = self.layers[-1](x)  # (N, C, H, W)
        return x.permute(0, 2, 3, 1).reshape(*feat.shape[:-1], *x.shape[2:], x.shape[1])

    def log_prob(
        self, feat: Float[Tensor, "B T F"], image: Real[Tensor, "B T H W C"]
    ) -> Float[Tensor, "B T"]:
        """ln q(o_t | s_t) of uint8 images `(B, T, H, W, C)`, summed over pixels and channels: `(B, T)`."""
        return unit_log_prob(self(feat), preprocess_image(image)).flatten(2).sum(-1)


class VectorDecoder(MLP):
    """Features `(..., F)` -> the mean of a state vector `(..., n)`."""

    def log_prob(self, feat: Float[Tensor, "B T F"], vector: Float[Tensor, "B T n"]) -> Float[Tensor, "B T"]:
        """ln q(o_t | s_t) of vectors `(B, T, n)`, summed over their elements: `(B, T)`."""
        return unit_log_prob(self(feat), vector).sum(-1)


class Decoder(nn.Module):
    """One decoder per observation key: `(..., F)` -> means of the same shapes as the observations."""

    def __init__(self, features: int, spec: EnvSpec, depth: int, units: int):
        super().__init__()
        images = {key: ImageDecoder(features, shape, depth) for key, shape in spec.images.items()}
        vectors = {key: VectorDecoder(features, VECTOR_LAYERS, units, n) for key, n in spec.vectors.items()}
        self.keys = [*images, *vectors]
        self.networks = nn.ModuleList([*images.values(), *vectors.values()])

    def forward(self, feat: Tensor) -> dict[str, Tensor]:
        return {key: network(feat) for key, network in zip(self.keys, self.networks, strict=True)}

    def log_probs(self, feat: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ln q(o_t | s_t) of every observation at features `(B, T, F)`: each `(B, T)`."""
        result: dict[str, Tensor] = {}
        for key, network in zip(self.keys, self.networks, strict=True):
            assert isinstance(network, ImageDecoder | VectorDecoder)
            result[key] = network.log_prob(feat, batch[key])
        return result
