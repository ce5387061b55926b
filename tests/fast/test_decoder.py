"""The quicker image decoder, and its log-density that compares images as bytes, against the plain ones."""

import copy

import pytest
import torch
from torch import Tensor

from dreamer.fast.decoder import FastImageDecoder, SquaredError
from dreamer.world_model.decoder import ImageDecoder
from dreamer.world_model.encoder import preprocess_image
from fast.exact import EPS, HALF_EPS, assert_within, distance, float64

SHAPE = (32, 32, 3)


def quicker(decoder: ImageDecoder) -> FastImageDecoder:
    fast = FastImageDecoder(6, SHAPE, 4).to(next(decoder.parameters()).dtype)
    fast.load_state_dict(decoder.state_dict())
    return fast


def small_decoder() -> ImageDecoder:
    decoder = ImageDecoder(6, SHAPE, 4)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.1)
    return decoder


def random_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Features, images, and the gradient of the log-density."""
    return torch.randn(3, 4, 6), torch.randint(256, (3, 4, *SHAPE)).byte(), torch.randn(3, 4)


def results(
    decoder: ImageDecoder, feat: Tensor, image: Tensor, by: Tensor, half: bool = False
) -> list[Tensor]:
    """Log-density, and the gradients of features and weights."""
    dtype = next(decoder.parameters()).dtype
    feat = feat.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        log_prob = decoder.log_prob(feat, image)
    sources = [feat, *decoder.parameters()]
    return [log_prob, *torch.autograd.grad(log_prob, sources, by.to(log_prob.dtype))]


def test_log_prob_equals_plain_one_in_float64() -> None:
    inputs = random_inputs()
    with float64():
        plain = small_decoder().double()
        expected, ours = results(plain, *inputs), results(quicker(plain), *inputs)
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_log_prob_is_as_exact_as_plain_one(half: bool) -> None:
    """Both round as often, in another order: neither is more than twice as far from the exact numbers.

    A single gradient, whose terms nearly cancel, may be twice as far again by chance.
    """
    inputs, plain = random_inputs(), small_decoder()
    with float64():
        exact = results(copy.deepcopy(plain).double(), *inputs)
    theirs, ours = results(plain, *inputs, half), results(quicker(plain), *inputs, half)
    assert [x.dtype for x in ours] == [x.dtype for x in theirs]
    assert distance(ours, exact) < 2 * distance(theirs, exact)
    for x, y, z in zip(ours, theirs, exact, strict=True):
        assert distance([x], [z]) < 4 * distance([y], [z])
        assert distance([y], [z]) < (0.1 if half else 1e-5)


def test_images_equal_plain_ones() -> None:
    feat, _, _ = random_inputs()
    plain = small_decoder()
    torch.testing.assert_close(quicker(plain)(feat), plain(feat))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_squared_error_equals_its_equation(dtype: torch.dtype) -> None:
    """Off by a rounding of each term and a few of their sum, which is formed by halves."""
    _, image, by = random_inputs()
    mean = torch.randn(3, 4, *SHAPE, dtype=dtype).requires_grad_()
    ours = SquaredError.apply(mean, image)
    assert isinstance(ours, Tensor)
    assert ours.dtype == torch.float32
    (gradient,) = torch.autograd.grad(ours, mean, by)
    error = image.double() / 255 - 0.5 - mean.double()
    assert_within(ours, error.square().flatten(2).sum(-1), 32 * EPS * (1 + error.square().flatten(2).sum(-1)))
    expected = -2 * by.double()[:, :, None, None, None] * error
    size = image.double() / 255 + 0.5 + mean.double().abs()  # the terms of the error
    rounding = HALF_EPS if dtype == torch.bfloat16 else 8 * EPS
    assert_within(gradient, expected, rounding * (2 * by.double().abs()[:, :, None, None, None] * size))
    assert gradient.dtype == dtype


def test_squared_error_reads_the_bytes_as_preprocessed_images() -> None:
    _, image, _ = random_inputs()
    error = SquaredError.apply(preprocess_image(image), image)
    assert isinstance(error, Tensor)
    assert error.max() < 1e-10
