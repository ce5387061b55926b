"""Dense networks as the official code builds them: Glorot-uniform kernels, zero biases, ELU between.

Reward (2 hidden layers), value and discount (3) and actor (4) are all of this form (TF2 models.py:120-176).
"""

import itertools
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def glorot_(layer: Layer) -> Layer:
    """Give a layer Keras' default initialization, in place."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Make a `Linear` layer with Keras' default initialization."""
    return glorot_(nn.Linear(inputs, outputs))


class MLP(nn.Module):
    """`layers` hidden layers of `units` with ELU, then `outputs` numbers: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, layers: int, units: int, outputs: int):
        super().__init__()
        widths = [inputs] + [units] * layers
        self.hidden = nn.ModuleList(linear(i, o) for i, o in itertools.pairwise(widths))
        self.out = linear(widths[-1], outputs)

    def forward(self, x: Float[Tensor, "*N inputs"]) -> Float[Tensor, "*N outputs"]:
        for layer in self.hidden:
            x = F.elu(layer(x))
        return self.out(x).float()  # also where the layers compute in bfloat16: densities need it


class ScalarMLP(MLP):
    """The mean of a unit-variance Normal, or one logit: (..., inputs) -> (...)."""

    def __init__(self, inputs: int, layers: int, units: int):
        super().__init__(inputs, layers, units, outputs=1)

    def forward(self, x: Float[Tensor, "*N inputs"]) -> Float[Tensor, "*N"]:
        return super().forward(x).squeeze(-1)
