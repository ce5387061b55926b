"""Transposed convolutions as other sums, against PyTorch's own, forward and backward.

Errors are compared with the sum of the terms' absolute values, which the plain layer gives for the absolute
values of all it reads: no partial sum is larger, and one rounding is off by at most EPS of it.
"""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from dreamer.fast import conv_transpose as module
from dreamer.fast.conv_transpose import conv_transpose
from dreamer.world_model.decoder import ImageDecoder
from fast.exact import EPS, HALF_EPS, assert_within

SIZES = {
    "a map of 1x1": (2, 24, 7, 1, 5),
    "an odd kernel": (2, 6, 4, 5, 5),
    "an odd kernel, one channel": (2, 3, 1, 4, 3),
    "an even kernel": (3, 6, 3, 5, 6),
    "an even kernel, one channel": (2, 3, 1, 4, 4),
    "an even kernel, many channels": (2, 5, 24, 4, 8),
    "the first layer at depth 16": (2, 512, 64, 1, 5),
    "the second layer at depth 16": (2, 64, 32, 5, 5),
    "the third layer at depth 16": (2, 32, 16, 13, 6),
    "the last layer at depth 16": (2, 16, 3, 30, 6),
    "the first layer at depth 32": (2, 1024, 128, 1, 5),
    "the second layer at depth 32": (2, 128, 64, 5, 5),
    "the third layer at depth 32": (2, 64, 32, 13, 6),
    "the last layer at depth 32": (2, 32, 3, 30, 6),
}
"""Images, channels of the input and of the output, side of the input, kernel."""

Numbers = dict[str, Tensor]


@pytest.fixture(params=SIZES.values(), ids=list(SIZES))
def size(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def inputs(size: tuple[int, ...]) -> tuple[nn.ConvTranspose2d, Tensor, Tensor]:
    """A layer, what it reads, and the gradient of what it gives; both as near to bfloat16 as to float32."""
    n, channels, outputs, side, kernel = size
    layer = nn.ConvTranspose2d(channels, outputs, kernel, 2).to(memory_format=torch.channels_last)
    x = torch.randn(n, channels, side, side).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for values in (*layer.parameters(), x):
            values.copy_(values.bfloat16())
    return layer, x, torch.randn(layer(x).shape).bfloat16().float()


def results(function, layer: nn.ConvTranspose2d, x: Tensor, by: Tensor) -> Numbers:
    """Value and gradients; `by` is the gradient of the value."""
    x = x.clone().requires_grad_()
    value = function(layer, x)
    assert layer.bias is not None
    found = torch.autograd.grad(value, (x, layer.weight, layer.bias), by.to(value.dtype))
    return {"value": value.detach(), **dict(zip(("x", "weight", "bias"), found, strict=True))}


def plain(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    return layer(x)


def exact_and_terms(layer: nn.ConvTranspose2d, x: Tensor, by: Tensor) -> tuple[Numbers, Numbers]:
    """The exact numbers, and the sums of their terms' absolute values."""
    layer = copy.deepcopy(layer).double()
    exact = results(plain, layer, x.double(), by.double())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.abs_()
    return exact, results(plain, layer, x.double().abs(), by.double().abs())


def test_result_equals_plain_layer_in_float32(size: tuple[int, ...]) -> None:
    """A sum of K terms, formed in blocks, passes some log2(K) roundings, and each term has one of its own."""
    layer, x, by = inputs(size)
    n, channels, outputs, side, kernel = size
    counts = {
        "value": channels * ((kernel + 1) // 2) ** 2 + 1,
        "x": outputs * kernel**2,
        "weight": n * side**2,
        "bias": n * by.shape[-1] ** 2,
    }
    exact, terms = exact_and_terms(layer, x, by)
    for name, ours in results(conv_transpose, layer, x, by).items():
        assert_within(ours, exact[name], (math.log2(counts[name]) + 1) * EPS * terms[name])


def test_result_equals_plain_layer_in_bfloat16(size: tuple[int, ...]) -> None:
    """A processor without bfloat16 products may round the partial sum at each tap of the kernel."""
    layer, x, by = inputs(size)
    kernel = size[-1]
    exact, terms = exact_and_terms(layer, x, by)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (results(function, layer, x, by) for function in (conv_transpose, plain))
    assert [found.dtype for found in ours.values()] == [found.dtype for found in theirs.values()]
    roundings = {"value": ((kernel + 1) // 2) ** 2 + 1, "x": kernel**2, "weight": 2, "bias": 3}
    for name, found in ours.items():
        assert_within(found, exact[name], roundings[name] * HALF_EPS * terms[name])


def test_even_kernels_take_the_sub_pixel_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, whole = [], module._SubPixel.apply
    monkeypatch.setattr(module._SubPixel, "apply", lambda *inputs: taken.append(1) or whole(*inputs))
    for name, quick in (("an even kernel", 1), ("an odd kernel", 0), ("a map of 1x1", 0)):
        taken.clear()
        conv_transpose(*inputs(SIZES[name])[:2])
        assert len(taken) == quick


def test_layers_of_the_decoder_are_those_that_are_compared() -> None:
    for depth in (16, 32):
        decoder, side = ImageDecoder(8, (64, 64, 3), depth), 1
        for name, layer in zip(("first", "second", "third", "last"), decoder.layers, strict=True):
            assert isinstance(layer, nn.ConvTranspose2d)
            kernel = layer.kernel_size[0]
            compared = SIZES[f"the {name} layer at depth {depth}"]
            assert compared == (2, layer.in_channels, layer.out_channels, side, kernel)
            side = 2 * side + kernel - 2
