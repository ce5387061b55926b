"""Dense layers as the official code builds them: Glorot-uniform kernels, zero biases, ELU between."""

import itertools
from collections.abc import Sequence
from typing import TypeVar, cast

from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.world_model.over_time import Layer, linear_over_time

REWARD_LAYERS, PCONT_LAYERS = 2, 3
"""Hidden layers of the reward head and of the discount head."""

Kind = TypeVar("Kind", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def glorot_(layer: Kind) -> Kind:
    """Give a layer Keras' default initialisation, in place."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A `Linear` layer with Keras' default initialisation."""
    return glorot_(nn.Linear(inputs, outputs))


class DenseHead(nn.Module):
    """`layers` hidden layers of `units` with ELU, then `outputs` numbers without activation.

    Reward (2 layers), value and discount (3) and actor (4) are all of this form (TF2 models.py:120-176).
    """

    def __init__(self, inputs: int, layers: int, units: int, outputs: int):
        super().__init__()
        widths = [inputs] + [units] * layers
        self.hidden = nn.ModuleList(linear(i, o) for i, o in itertools.pairwise(widths))
        self.out = linear(widths[-1], outputs)

    def forward(self, x: Tensor, layers: Sequence[Layer] | None = None) -> Tensor:
        """(..., inputs) -> (..., outputs), float32 whatever the precision of the products.

        In a loop over time give it its own `layers_over_time`.
        """
        *hidden, out = layers or (*self.hidden, self.out)
        for layer in hidden:
            x = F.elu(layer(x))
        return out(x).float()

    def layers_over_time(self) -> list[Layer]:
        """All layers, for one loop over time."""
        return [linear_over_time(cast(nn.Linear, layer)) for layer in (*self.hidden, self.out)]


class ScalarHead(DenseHead):
    """The mean of a unit-variance Normal, or one logit: (..., inputs) -> (...)."""

    def __init__(self, inputs: int, layers: int, units: int):
        super().__init__(inputs, layers, units, outputs=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(-1)
