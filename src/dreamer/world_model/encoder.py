"""From observations to an embedding e_t (paper, Section 4 and Appendix A; TF2 models.py:84-98).

An image of 64x64 passes four convolutions, kernel 4, stride 2, no padding, ReLU: 64 -> 31 -> 14 -> 6 -> 2, with
32, 64, 128, 256 channels. The last map is flattened to E = 1024 numbers, row by row, channels last.
"""

import itertools

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.errors import UserError
from dreamer.types import SMALLEST_IMAGE, EnvSpec
from dreamer.world_model.mlp import glorot_, linear

KERNEL, STRIDE = 4, 2


def preprocess_image(image: Tensor) -> Tensor:
    """Scale uint8 `(..., H, W, C)` to float32 in [-0.5, 0.5] (TF2 dreamer.py:333)."""
    return image.float() / 255 - 0.5


def conv_sizes(size: int) -> list[int]:
    """Return the side lengths from the image down to the last feature map: 64 -> [64, 31, 14, 6, 2]."""
    if size < SMALLEST_IMAGE:
        least = f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}"
        raise UserError(f"Images of {size}x{size} are too small for the encoder: give at least {least}.")
    sizes = [size]
    while sizes[-1] >= KERNEL:
        sizes.append((sizes[-1] - KERNEL) // STRIDE + 1)
    return sizes


class ImageEncoder(nn.Module):
    """Convolutions over one image: uint8 `(..., H, W, C)` -> `(..., E)`."""

    def __init__(self, shape: tuple[int, int, int], depth: int):
        super().__init__()
        height, width, channels = shape
        if height != width:
            raise UserError(f"Images must be square, got {height}x{width}: resize them in the environment.")
        sizes = conv_sizes(height)
        widths = [channels] + [depth * 2**i for i in range(len(sizes) - 1)]
        layers = [nn.Conv2d(i, o, KERNEL, STRIDE) for i, o in itertools.pairwise(widths)]
        self.layers = nn.ModuleList(glorot_(layer) for layer in layers)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.size = sizes[-1] ** 2 * widths[-1]

    def forward(self, image: UInt8[Tensor, "*N H W C"]) -> Float[Tensor, "*N E"]:
        x = preprocess_image(image.flatten(0, -4)).permute(0, 3, 1, 2)  # (N, C, H, W), N = B T in learning
        for layer in self.layers:
            x = F.relu(layer(x))
        return x.permute(0, 2, 3, 1).reshape(*image.shape[:-3], self.size)


class VectorEncoder(nn.Module):
    """Three dense ReLU layers over a state vector: `(..., n)` -> `(..., units)` (TF1 networks/proprio.py)."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.layers = nn.ModuleList([linear(inputs, units), linear(units, units), linear(units, units)])
        self.size = units

    def forward(self, x: Float[Tensor, "*N inputs"]) -> Float[Tensor, "*N units"]:
        x = x.float()
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


class Encoder(nn.Module):
    """One encoder per observation key, concatenated: a dictionary of `(..., *shape)` -> `(..., E)`."""

    def __init__(self, spec: EnvSpec, depth: int, units: int):
        super().__init__()
        images = {key: ImageEncoder(shape, depth) for key, shape in spec.images.items()}
        vectors = {key: VectorEncoder(size, units) for key, size in spec.vectors.items()}
        self.keys = [*images, *vectors]
        self.networks = nn.ModuleList([*images.values(), *vectors.values()])
        self.size = sum(network.size for network in (*images.values(), *vectors.values()))

    def forward(self, observation: dict[str, Tensor]) -> Float[Tensor, "*N E"]:
        pairs = zip(self.keys, self.networks, strict=True)
        return torch.cat([network(observation[key]) for key, network in pairs], -1)
