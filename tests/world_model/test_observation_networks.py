"""Encoder and decoder: shapes at every size that is served, and no mixing of rows."""

import pytest
import torch

from dreamer.envs.spec import ActionSpec, EnvSpec
from dreamer.errors import UserError
from dreamer.types import SMALLEST_IMAGE
from dreamer.world_model.decoder import Decoder, deconv_kernels
from dreamer.world_model.encoder import Encoder, conv_sizes, preprocess_image


def spec_of_size(size: int, channels: int = 3) -> EnvSpec:
    return EnvSpec({"image": (size, size, channels)}, {"joints": 5}, ActionSpec(1))


def test_sizes_are_the_published_ones() -> None:
    assert conv_sizes(64) == [64, 31, 14, 6, 2]
    assert deconv_kernels(64) == (5, 5, 6, 6)


def test_smallest_image_passes_three_convolutions() -> None:
    assert conv_sizes(SMALLEST_IMAGE) == [22, 10, 4, 1]


@pytest.mark.parametrize(("size", "channels"), [(22, 3), (64, 1), (64, 3), (84, 4), (96, 3), (128, 3)])
def test_decoded_shapes_equal_encoded_ones(size: int, channels: int) -> None:
    spec = spec_of_size(size, channels)
    encoder, decoder = Encoder(spec, 2, 8), Decoder(6, spec, 2, 8)
    image = torch.randint(256, (2, 3, size, size, channels)).byte()
    embed = encoder({"image": image, "joints": torch.randn(2, 3, 5)})
    assert embed.shape == (2, 3, encoder.size)
    means = decoder(torch.randn(2, 3, 6))
    assert {key: mean.shape for key, mean in means.items()} == {"image": image.shape, "joints": (2, 3, 5)}


def test_published_embedding_has_1024_numbers() -> None:
    assert Encoder(EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(1)), 32, 400).size == 1024


@torch.no_grad()
def test_rows_do_not_mix() -> None:
    spec = spec_of_size(32)
    encoder, decoder = Encoder(spec, 2, 8), Decoder(6, spec, 2, 8)
    batch = {"image": torch.randint(256, (4, 2, 32, 32, 3)).byte(), "joints": torch.randn(4, 2, 5)}
    one = {key: x[2:3, 1:] for key, x in batch.items()}
    torch.testing.assert_close(encoder(one), encoder(batch)[2:3, 1:])
    feat = torch.randn(4, 2, 6)
    torch.testing.assert_close(decoder(feat[2:3, 1:])["image"], decoder(feat)["image"][2:3, 1:])


def test_preprocessed_pixels_lie_around_zero() -> None:
    assert preprocess_image(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("shape", [(21, 21, 3), (64, 48, 3)])
def test_error_of_a_size_that_does_not_fit_says_what_does(shape: tuple[int, int, int]) -> None:
    spec = EnvSpec({"image": shape}, {}, ActionSpec(1))
    with pytest.raises(UserError, match=r"22x22|square"):
        Decoder(6, spec, Encoder(spec, 2, 8).size, 8)
