"""The shapes in the signatures of the mathematics are checked while testing: a wrong one is refused."""

import pytest
import torch
from jaxtyping import TypeCheckError

from dreamer.behavior.imagination import lambda_return
from dreamer.world_model.gaussian import unit_log_prob
from dreamer.world_model.rssm import RSSM, State
from helpers import random_batch, small_dreamer

B, T, A, E, S, D = 3, 6, 2, 4, 3, 5


def test_target_that_would_be_broadcast_is_refused() -> None:
    """`(B, T, 1)` against `(B, T)` gives a number for every pair, and no error in PyTorch."""
    with pytest.raises(TypeCheckError):
        unit_log_prob(torch.zeros(B, T, 1), torch.zeros(B, T))


def test_bootstrap_of_another_shape_is_refused() -> None:
    steps = torch.zeros(T, B)
    with pytest.raises(TypeCheckError):
        lambda_return(steps, steps, steps, torch.zeros(1), 0.95)


def test_filter_noise_without_rows_is_refused() -> None:
    rssm, first = RSSM(A, E, S, D, hidden=7), torch.zeros(B, T, dtype=torch.bool)
    with pytest.raises(TypeCheckError):
        rssm.observe(torch.zeros(B, T, E), torch.zeros(B, T, A), first, torch.zeros(1, T, S))


def test_state_of_parts_that_do_not_fit_is_refused() -> None:
    part = torch.zeros(B, S)
    with pytest.raises(TypeCheckError):
        State(part, part, part, torch.zeros(B + 1, D))


@pytest.mark.parametrize("fast", [False, True])
def test_loss_with_noise_of_another_batch_is_refused(fast: bool) -> None:
    model, batch = small_dreamer(fast=fast).world_model, random_batch(rows=B, length=T)
    noise = torch.zeros(B, T, model.rssm.stoch)
    losses, posterior, _ = model.losses(batch, noise)
    assert losses["model"].shape == ()
    assert posterior.deter.shape[:2] == (B, T)
    with pytest.raises(TypeCheckError):
        model.losses(batch, noise[:1])
