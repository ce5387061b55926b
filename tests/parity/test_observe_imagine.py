"""c_observe_imagine.npz: the filter over a batch, and open-loop prediction."""

import pytest
import torch

from dreamer.world_model.state import State
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_agent

OFFICIAL, BATCH = record("c_observe_imagine"), record("batch")


def observe(start: State | None = None) -> tuple[State, State]:
    model = official_agent().world_model
    embed = model.encoder({"image": BATCH["image"]})
    return model.rssm.observe(embed, BATCH["action"], BATCH["eps_post"], start)


def check_filter(posterior: State, prior: State, official: Record) -> None:
    assert_state(posterior, official.under("post/"), "posterior")
    for part in ("mean", "std", "deter"):
        assert_elements(getattr(prior, part), official[f"prior/{part}"], f"prior {part}")
    # Nothing reads a sample of the filter's prior, so it is not drawn; with its noise it is the official one.
    sample = official_agent().world_model.rssm.prior(prior.deter, BATCH["eps_prior"])
    assert_state(sample, official.under("prior/"), "prior")


def test_filter_from_zeros() -> None:
    check_filter(*observe(), OFFICIAL)


def test_filter_carries_on() -> None:
    last = observe()[0].map(lambda x: x[:, -1])
    check_filter(*observe(last), OFFICIAL.under("carried/"))


def test_is_first_starts_from_zeros() -> None:
    model, last = official_agent().world_model, observe()[0].map(lambda x: x[:, -1])
    is_first = torch.zeros(BATCH["reward"].shape, dtype=torch.bool)
    is_first[:, 0] = True
    embed = model.encoder({"image": BATCH["image"]})
    posterior, prior = model.rssm.observe(embed, BATCH["action"], BATCH["eps_post"], last, is_first)
    check_filter(posterior, prior, OFFICIAL)


@pytest.mark.parametrize("start", ["from_post_t2", "from_zeros"])
def test_open_loop(start: str) -> None:
    rssm = official_agent().world_model.rssm
    action, eps = OFFICIAL["imagine/action"], OFFICIAL["imagine/eps"]
    states = {"from_post_t2": observe()[0].map(lambda x: x[:, 2]), "from_zeros": rssm.initial(len(action))}
    assert_state(rssm.imagine(states[start], action, eps), OFFICIAL.under(f"imagine/{start}/"))
