"""A layer in a loop over time is the layer, and its gradient the sum over the steps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.world_model.over_time import Layer, linear_over_time, over_time

STEPS, B, N = 4, 3, 5


def _loop(layer: Layer, x: Tensor) -> Tensor:
    """Every step reads what the one before gave: gradients pass through all of them."""
    total = torch.zeros(())
    for _ in range(STEPS):
        x = torch.tanh(layer(x))
        total = total + x.square().sum()
    return total


def test_value_and_gradients_are_those_of_the_layer() -> None:
    layer, x = nn.Linear(N, N).double(), torch.randn(B, N, dtype=torch.float64, requires_grad=True)
    sources = [layer.weight, layer.bias, x]
    plain, looped = _loop(layer, x), _loop(linear_over_time(layer), x)
    assert torch.equal(plain, looped)
    gradients = torch.autograd.grad(looped, sources, retain_graph=True)
    torch.testing.assert_close(gradients, torch.autograd.grad(plain, sources))
    again = torch.autograd.grad(looped, sources)  # nothing is left of the first pass
    torch.testing.assert_close(again, gradients)


def test_a_part_of_a_weight_without_bias() -> None:
    whole, x = torch.randn(N, 2 * N, requires_grad=True), torch.randn(B, N)
    part = whole[:, N:]
    gradient = torch.autograd.grad(_loop(over_time(part), x), whole)
    torch.testing.assert_close(gradient, torch.autograd.grad(_loop(lambda x: F.linear(x, part), x), whole))


def test_one_that_does_not_learn_passes_gradients_on() -> None:
    layer, x = nn.Linear(N, N), torch.randn(B, N, requires_grad=True)
    frozen = _loop(linear_over_time(layer, learns=False), x)
    gradient = torch.autograd.grad(frozen, x, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(_loop(layer, x), x))
    (unused,) = torch.autograd.grad(frozen, [layer.weight], allow_unused=True)
    assert unused is None


def test_without_gradients_nothing_is_kept() -> None:
    layer, x = nn.Linear(N, N), torch.randn(B, N)
    with torch.no_grad():
        assert linear_over_time(layer)(x).grad_fn is None


def test_under_autocast_products_are_in_bfloat16_and_gradients_in_float32() -> None:
    layer, x = nn.Linear(N, N), torch.randn(B, N)
    with torch.autocast("cpu", torch.bfloat16):
        result = linear_over_time(layer)(x)
        plain = layer(x)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, plain)
    weight, bias = torch.autograd.grad(result.float().sum(), [layer.weight, layer.bias])
    assert weight.dtype == bias.dtype == torch.float32
    expected = torch.autograd.grad(plain.float().sum(), [layer.weight, layer.bias])
    torch.testing.assert_close((weight, bias), expected, rtol=1e-2, atol=1e-2)
