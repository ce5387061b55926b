"""Networks by observation key: any name, and plain ones as parameters have always been called."""

import copy

import torch
from torch import nn

from dreamer.envs.spec import ActionSpec, EnvSpec
from dreamer.world_model.parts import Parts
from world_model.small import batch, world_model

ODD = ["robot.arm", "robot%2Earm", "values", "items", "%items", "forward", "training", "_names", "", "%"]


def test_any_name_is_kept_apart_from_all_others() -> None:
    parts = Parts({key: nn.Linear(1, i + 1) for i, key in enumerate(ODD)})
    assert list(parts) == ODD
    assert len(parts) == len(parts.state_dict()) // 2 == len(ODD)
    for i, (key, network) in enumerate(copy.deepcopy(parts).items()):
        assert network(torch.zeros(1)).shape == parts[key](torch.zeros(1)).shape == (i + 1,)


def test_plain_keys_name_their_parameters() -> None:
    networks = {"image": nn.Linear(1, 1), "left_wrist": nn.Linear(1, 1)}
    parts, usual = Parts(networks), nn.ModuleDict(networks)
    assert list(parts.state_dict()) == list(usual.state_dict())


def test_a_world_model_with_unusual_names_learns_all_of_them() -> None:
    spec = EnvSpec({"values": (32, 32, 3)}, {"robot.arm": 3, "items": 2}, ActionSpec(2))
    model, data = world_model(spec), batch(spec)
    noise = torch.zeros(*data["reward"].shape, model.config.stoch)
    loss, metrics, _ = model.loss(data, noise)
    loss.backward()
    assert {"model/values_loss", "model/robot.arm_loss", "model/items_loss"} <= metrics.keys()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    again = world_model(spec)
    again.load_state_dict(model.state_dict())
    shown, shown_again = (m.open_loop(data, 2, noise) for m in (model, again))
    assert shown.keys() == spec.images.keys() | spec.vectors.keys()
    for key, means in shown.items():
        assert means.shape == data[key].shape
        assert torch.equal(means, shown_again[key])
