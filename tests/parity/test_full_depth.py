"""full_depth.npz: losses, gradients, behavior and update at the default width of the convolutions."""

import pytest
import torch

from parity.checks import FAST, KL, PCONT, batch, check_behavior, check_update, check_world_loss
from parity.recorded import assert_elements, assert_near, assert_state, norm, record
from parity.weights import Device, full_depth_dreamer, official_names, parameters, to_official

OFFICIAL = record("full_depth")
DEVICE = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


def prefix(part: str, pcont: bool) -> str:
    return f"{part}/pcont_{'on' if pcont else 'off'}/"


def test_generated_weights_equal_recorded() -> None:
    dreamer = full_depth_dreamer(pcont=True)
    weights = to_official(parameters(dreamer), official_names(dreamer))
    assert set(weights) == set(OFFICIAL.under("weight_norm/"))
    for name, weight in weights.items():
        assert_near(norm(weight), OFFICIAL[f"weight_norm/{name}"], rtol=1e-5, name=name)
        first = OFFICIAL[f"weight_first4/{name}"]
        assert torch.equal(weight.flatten()[: len(first)], first), name


@FAST
@torch.no_grad()
def test_states_and_images_equal_recorded(fast: bool) -> None:
    model, data = full_depth_dreamer(fast=fast).world_model, batch()
    embed = model.encoder(data)
    assert_elements(embed, OFFICIAL["embed"])
    noise = record("batch")
    posterior, prior = model.rssm.observe(embed, data["action"], data["is_first"], noise["eps_post"])
    assert_state(posterior, OFFICIAL.under("post/"), "posterior")
    for part in ("mean", "std", "deter"):
        assert_elements(getattr(prior, part), OFFICIAL[f"prior/{part}"], f"prior {part}")
    assert_elements(prior.mean + prior.std * noise["eps_prior"], OFFICIAL["prior/stoch"], "prior sample")
    image = model.decoder(posterior.feat)["image"][:, :, ::8, ::8]
    assert_elements(image, OFFICIAL["decoder_mean_slice"])


@DEVICE
@FAST
@KL
@PCONT
def test_world_loss_equals_recorded(pcont: bool, kl: str, fast: bool, device: Device) -> None:
    dreamer = full_depth_dreamer(pcont, kl == "kl_below", fast, device)
    check_world_loss(dreamer, OFFICIAL, f"{prefix('loss', pcont)}{kl}/")


@DEVICE
@FAST
@PCONT
def test_behavior_equals_recorded(pcont: bool, fast: bool, device: Device) -> None:
    dreamer = full_depth_dreamer(pcont, fast=fast, device=device)
    check_behavior(dreamer, OFFICIAL, prefix("behaviour", pcont))


@DEVICE
@FAST
@PCONT
def test_update_equals_recorded(pcont: bool, fast: bool, device: Device) -> None:
    check_update(full_depth_dreamer(pcont, fast=fast, device=device), OFFICIAL, prefix("adam", pcont))


def test_parameter_counts_equal_recorded() -> None:
    """The official start-up log's numbers, for action size A (paper code, default sizes)."""
    dreamer = full_depth_dreamer()
    actions = dreamer.spec.action.size
    networks = (dreamer.world_model, dreamer.actor, dreamer.value)
    counts = [sum(x.numel() for x in network.parameters()) for network in networks]
    assert counts == [5_295_620 + 200 * actions, 573_600 + 802 * actions, 413_601]
