"""Transposed convolutions in blocks of pixels, against PyTorch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamer.world_model import enlarge as module
from dreamer.world_model.enlarge import enlarge


def inputs(outputs: int, kernel: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, 5, 4, 7, dtype=dtype).to(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(5, outputs, kernel, kernel, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("kernel", [3, 4, 5, 6, 8])
@pytest.mark.parametrize("outputs", [1, 3, 8])
def test_it_is_the_transposed_convolution(kernel: int, outputs: int) -> None:
    x, weight = inputs(outputs, kernel)
    image, expected = enlarge(x, weight), F.conv_transpose2d(x, weight, stride=2)
    torch.testing.assert_close(image, expected)
    by = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, (x, weight), by) for y in (image, expected))
    torch.testing.assert_close(ours, theirs)


def test_few_channels_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    whole = module.SubPixel.apply
    monkeypatch.setattr(module.SubPixel, "apply", lambda *a: taken.append(1) or whole(*a))
    for outputs, kernel, quick in ((3, 6, True), (8, 6, False), (3, 5, False)):
        taken.clear()
        enlarge(*inputs(outputs, kernel))
        assert bool(taken) == quick


def test_it_follows_autocast() -> None:
    x, weight = inputs(3, 6, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image, reference = enlarge(x, weight), F.conv_transpose2d(x, weight, stride=2)
    assert image.dtype == reference.dtype == torch.bfloat16
    assert_rounded_once_per_tap(image, x, weight)
    grads = torch.autograd.grad(image.float().sum(), (x, weight))
    assert [g.dtype for g in grads] == [torch.float32, torch.float32]


@torch.no_grad()
def assert_rounded_once_per_tap(image: Tensor, x: Tensor, weight: Tensor) -> None:
    """Compare with the exact sum over the rounded inputs.

    A processor without bfloat16 products may round the partial sum after each tap of the kernel that meets
    the pixel, `(k / 2)^2` times. Each rounding is off by at most 2^-8 of a partial sum, and no partial sum is
    larger than the sum of the terms' absolute values.
    """
    x, weight = x.bfloat16().double(), weight.bfloat16().double()
    exact = F.conv_transpose2d(x, weight, stride=2)
    terms = F.conv_transpose2d(x.abs(), weight.abs(), stride=2)
    taps = (weight.shape[-1] // 2) ** 2
    excess = (image.double() - exact).abs() - taps * 2**-8 * terms
    assert excess.max() <= 0, f"off by {float(excess.max()):.3g} more than rounding explains"
