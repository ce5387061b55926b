"""Exact results to compare with: the same functions in float64."""

import contextlib
from collections.abc import Iterable, Iterator

import pytest
import torch
from torch import Tensor

EPS, HALF_EPS = 2.0**-24, 2.0**-8
"""Relative error of one rounding to float32, and to bfloat16 (doubled, as some kernels truncate)."""


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """What usually becomes float32, whatever it is computed from, is float64 in here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def distance(ours: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """The distance of tensors from the exact ones, over the norm of these."""
    pairs = [(x.detach().double(), y.detach().double()) for x, y in zip(ours, exact, strict=True)]
    error = sum(float((x - y).square().sum()) for x, y in pairs)
    return (error / sum(float(y.square().sum()) for _, y in pairs)) ** 0.5


def assert_within(ours: Tensor, exact: Tensor, bound: Tensor) -> None:
    """|ours - exact| <= bound, element by element."""
    assert ours.shape == exact.shape
    excess = (ours.double() - exact.double()).abs() - bound.double()
    assert excess.max() <= 0, f"off by {float(excess.max()):.3g} more than rounding explains"
