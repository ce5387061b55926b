"""e_world_loss.npz: the world model's loss, its parts and its gradients."""

import pytest

from parity.checks import check_world_loss
from parity.recorded import record
from parity.weights import official_agent


@pytest.mark.parametrize("kl", ["kl_above", "kl_below"])
@pytest.mark.parametrize("pcont", [False, True], ids=["pcont_off", "pcont_on"])
def test_world_loss(pcont: bool, kl: str) -> None:
    agent = official_agent(pcont, kl_below=kl == "kl_below")
    check_world_loss(agent, record("e_world_loss"), f"pcont_{'on' if pcont else 'off'}/{kl}/")


def test_regimes_are_what_they_are_called() -> None:
    official, free_nats = record("e_world_loss"), official_agent().config.model.free_nats
    assert official["pcont_off/kl_above/kl_mean"] > free_nats
    assert official["pcont_off/kl_below/kl_mean"] < free_nats
    assert official["pcont_off/kl_below/grad_norm/rssm/img3/kernel"] == 0
