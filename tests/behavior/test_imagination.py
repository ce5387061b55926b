"""Where imagination starts, how much each start counts, and the noise of an update."""

import torch

from dreamer.behavior.actor import Actor
from dreamer.behavior.imagination import draw_noise, imagination_starts
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel
from helpers import STATE, random_batch, small_config

B, T, H = 4, 5, 3
PLAIN, WITH_ENDS = (WorldModel(STATE, small_config(pcont=pcont)) for pcont in (False, True))
ACTOR = Actor(PLAIN.feat_size, STATE.action, units=8)


def random_posterior() -> State:
    return State(*(torch.randn(B, T, n, requires_grad=True) for n in (3, 3, 3, 5)))


def test_every_posterior_starts_imagination() -> None:
    posterior = random_posterior()
    start, weight = imagination_starts(PLAIN, posterior, random_batch(STATE, B, T))
    assert torch.equal(weight, torch.ones(B * T))
    for ours, theirs in zip(start, posterior, strict=True):
        assert torch.equal(ours, theirs.flatten(0, 1))
        assert not ours.requires_grad


def test_last_step_starts_nothing_where_episodes_may_end() -> None:
    posterior = random_posterior()
    start, weight = imagination_starts(WITH_ENDS, posterior, random_batch(STATE, B, T))
    assert weight.shape == (B * (T - 1),)
    assert torch.equal(start.deter, posterior.deter[:, :-1].flatten(0, 1))


def test_start_at_a_terminal_state_counts_for_nothing() -> None:
    """A row joins episodes: the step before a first one is terminal, cut off by time, or of a joined row."""
    data = random_batch(STATE, B, T)
    data["is_first"][1, 3] = data["is_first"][2, 3] = True
    data["discount"][1, 2] = 0  # terminated; row 2 was cut off by its time limit
    data["discount"][0, 4] = 0  # the last step of a row, which starts nothing
    _, weight = imagination_starts(WITH_ENDS, random_posterior(), data)
    expected = torch.ones(B, T - 1)
    expected[1, 2] = 0
    assert torch.equal(weight.view(B, T - 1), expected)
    _, weight = imagination_starts(PLAIN, random_posterior(), data)
    assert torch.equal(weight, torch.ones(B * T))


def test_noise_has_a_row_for_every_start() -> None:
    generator = torch.Generator().manual_seed(0)
    for model, starts in ((PLAIN, B * T), (WITH_ENDS, B * (T - 1))):
        noise = draw_noise(model, ACTOR, H, B, T, generator)
        shapes = {key: tuple(x.shape) for key, x in noise.items()}
        assert shapes == {"filter": (B, T, 3), "action": (H, starts, 2), "state": (H, starts, 3)}


def test_noise_follows_the_generator() -> None:
    one, same, other = (
        draw_noise(PLAIN, ACTOR, H, B, T, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)
