"""Observations may have any name."""

import torch

from dreamer.types import ActionSpec, EnvSpec
from dreamer.world_model.decoder import Decoder
from dreamer.world_model.encoder import Encoder
from dreamer.world_model.world_model import WorldModel
from helpers import random_batch, small_config

ODD = ["robot.arm", "robot%2Earm", "values", "items", "%items", "forward", "training", "keys", "", "%"]


def test_every_name_has_networks_of_its_own() -> None:
    spec = EnvSpec({}, {key: i + 1 for i, key in enumerate(ODD)}, ActionSpec(1))
    encoder, decoder = Encoder(spec, 2, 8), Decoder(6, spec, 2, 8)
    assert encoder.keys == decoder.keys == ODD
    assert encoder({key: torch.randn(2, n) for key, n in spec.vectors.items()}).shape == (2, 8 * len(ODD))
    means = decoder(torch.randn(2, 6))
    assert {key: mean.shape[-1] for key, mean in means.items()} == spec.vectors


def test_world_model_with_unusual_names_learns_all_of_them() -> None:
    spec = EnvSpec({"values": (32, 32, 3)}, {"robot.arm": 3, "items": 2}, ActionSpec(2))
    model, data = WorldModel(spec, small_config()), random_batch(spec)
    noise = torch.zeros(*data["reward"].shape, model.options.stoch)
    losses, _, metrics = model.losses(data, noise)
    losses["model"].backward()
    assert {"model/values_loss", "model/robot.arm_loss", "model/items_loss"} <= metrics.keys()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    again = WorldModel(spec, small_config())
    again.load_state_dict(model.state_dict())
    shown, shown_again = (m.open_loop(data, 2, noise) for m in (model, again))
    assert shown.keys() == spec.images.keys() | spec.vectors.keys()
    for key, means in shown.items():
        assert means.shape == data[key].shape
        assert torch.equal(means, shown_again[key])
