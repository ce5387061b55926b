"""c_observe_imagine.npz: the filter over a batch, and open-loop prediction."""

import pytest
import torch

from dreamer.world_model.rssm import State, given
from parity.checks import FAST
from parity.recorded import Record, assert_elements, assert_state, record
from parity.weights import official_dreamer

OFFICIAL, BATCH = record("c_observe_imagine"), record("batch")


def observe(fast: bool = False, start: State | None = None, is_first: bool = False) -> tuple[State, State]:
    """Posterior and prior of the recorded batch; the first step may begin an episode."""
    model = official_dreamer(fast=fast).world_model
    begins = torch.zeros(BATCH["reward"].shape, dtype=torch.bool)
    begins[:, 0] = is_first
    embed = model.encoder({"image": BATCH["image"]})
    return model.rssm.observe(embed, BATCH["action"], begins, BATCH["eps_post"], start)


def last_posterior() -> State:
    return observe()[0].map(lambda x: x[:, -1])


def check_filter(posterior: State, prior: State, official: Record) -> None:
    assert_state(posterior, official.under("post/"), "posterior")
    for part in ("mean", "std", "deter"):
        assert_elements(getattr(prior, part), official[f"prior/{part}"], f"prior {part}")
    # Nothing reads a sample of the filter's prior, so none is drawn; with its noise it is the official one.
    sample = prior.mean + prior.std * BATCH["eps_prior"]
    assert_elements(sample, official["prior/stoch"], "prior sample")


@FAST
def test_filter_from_zeros_equals_recorded(fast: bool) -> None:
    check_filter(*observe(fast), OFFICIAL)


@FAST
def test_filter_from_a_state_equals_recorded(fast: bool) -> None:
    check_filter(*observe(fast, last_posterior()), OFFICIAL.under("carried/"))


@FAST
def test_is_first_starts_from_zeros(fast: bool) -> None:
    check_filter(*observe(fast, last_posterior(), is_first=True), OFFICIAL)


@pytest.mark.parametrize("start", ["from_post_t2", "from_zeros"])
def test_open_loop_prediction_equals_recorded(start: str) -> None:
    rssm = official_dreamer().world_model.rssm
    action, eps = OFFICIAL["imagine/action"], OFFICIAL["imagine/eps"]  # (B, H, .)
    states = {"from_post_t2": observe()[0].map(lambda x: x[:, 2]), "from_zeros": rssm.initial(len(action))}
    imagined = rssm.imagine(given, states[start], action.transpose(0, 1), eps.transpose(0, 1))
    assert_state(imagined.map(lambda x: x.transpose(0, 1)), OFFICIAL.under(f"imagine/{start}/"))
