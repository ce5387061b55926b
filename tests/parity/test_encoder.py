"""a_encoder.npz: pixels to the embedding."""

import torch
from torch.nn import functional as F

from dreamer.world_model.encoder import ImageEncoder, preprocess_image
from parity.recorded import assert_elements, record
from parity.weights import official_dreamer

OFFICIAL = record("a_encoder")


def test_preprocessed_image_equals_recorded() -> None:
    assert_elements(preprocess_image(OFFICIAL["image_uint8"][:1, :1]), OFFICIAL["image_float_first"])


def test_embedding_equals_recorded() -> None:
    embed = official_dreamer().world_model.encoder({"image": OFFICIAL["image_uint8"]})
    assert_elements(embed, OFFICIAL["embed"])


def test_layers_equal_recorded() -> None:
    encoder = official_dreamer().world_model.encoder.networks[0]
    assert isinstance(encoder, ImageEncoder)
    images = OFFICIAL["image_uint8"].flatten(0, 1)
    x = preprocess_image(images).permute(0, 3, 1, 2)
    for number, layer in enumerate(encoder.layers, start=1):
        x = F.relu(layer(x))
        channels_last = x.permute(0, 2, 3, 1)
        shape = OFFICIAL[f"h{number}_shape"].tolist()
        assert list(channels_last.shape[1:]) == shape[1:]
        if f"h{number}_out" in OFFICIAL:
            expected = OFFICIAL[f"h{number}_out"]
            assert_elements(channels_last[: len(expected)], expected, f"layer {number}")


def test_frames_do_not_mix() -> None:
    encoder, images = official_dreamer().world_model.encoder, OFFICIAL["image_uint8"]
    alone = torch.stack([encoder({"image": image[None]})[0] for image in images.flatten(0, 1)])
    assert_elements(alone, OFFICIAL["embed"].flatten(0, 1))
