"""full_depth.npz: losses, gradients, behaviour and update at the default width of the convolutions."""

import pytest
import torch

from parity.checks import batch, check_behaviour, check_update, check_world_loss
from parity.recorded import assert_elements, assert_near, assert_state, norm, record
from parity.weights import Device, full_depth_agent, official_names, parameters, to_official

OFFICIAL = record("full_depth")
DEVICE = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
PCONT = pytest.mark.parametrize("pcont", [False, True], ids=["pcont_off", "pcont_on"])


def prefix(part: str, pcont: bool) -> str:
    return f"{part}/pcont_{'on' if pcont else 'off'}/"


def test_generated_weights() -> None:
    agent = full_depth_agent(pcont=True)
    weights = to_official(parameters(agent), official_names(agent))
    assert set(weights) == set(OFFICIAL.under("weight_norm/"))
    for name, weight in weights.items():
        assert_near(norm(weight), OFFICIAL[f"weight_norm/{name}"], rtol=1e-5, name=name)
        first = OFFICIAL[f"weight_first4/{name}"]
        assert torch.equal(weight.flatten()[: len(first)], first), name


@torch.no_grad()
def test_states_and_pictures() -> None:
    model, data = full_depth_agent().world_model, batch()
    embed = model.encoder(data)
    assert_elements(embed, OFFICIAL["embed"])
    noise = record("batch")
    posterior, prior = model.rssm.observe(embed, data["action"], noise["eps_post"])
    assert_state(posterior, OFFICIAL.under("post/"), "posterior")
    assert_state(model.rssm.prior(prior.deter, noise["eps_prior"]), OFFICIAL.under("prior/"), "prior")
    picture = model.decoder(posterior.feat)["image"][:, :, ::8, ::8]
    assert_elements(picture, OFFICIAL["decoder_mean_slice"])


@DEVICE
@pytest.mark.parametrize("kl", ["kl_above", "kl_below"])
@PCONT
def test_world_loss(pcont: bool, kl: str, device: Device) -> None:
    agent = full_depth_agent(pcont, kl == "kl_below", device)
    check_world_loss(agent, OFFICIAL, f"{prefix('loss', pcont)}{kl}/")


@DEVICE
@PCONT
def test_behaviour(pcont: bool, device: Device) -> None:
    check_behaviour(full_depth_agent(pcont, device=device), OFFICIAL, prefix("behaviour", pcont))


@DEVICE
@PCONT
def test_update(pcont: bool, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    check_update(full_depth_agent(pcont, device=device), OFFICIAL, prefix("adam", pcont), monkeypatch)


def test_parameter_counts() -> None:
    """The official start-up log's numbers, for action size A (paper code, default sizes)."""
    agent = full_depth_agent()
    actions = agent.spec.action.size
    behavior = agent.behavior
    counts = [
        sum(x.numel() for x in m.parameters()) for m in (agent.world_model, behavior.actor, behavior.value)
    ]
    assert counts == [5_295_620 + 200 * actions, 573_600 + 802 * actions, 413_601]
