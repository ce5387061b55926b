"""d_heads.npz: decoder, reward, value, discount and actor at given features."""

import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.behavior.distributions import LARGEST_ACTION, TanhNormal
from dreamer.world_model.gaussian import unit_log_prob
from parity.checks import FAST
from parity.recorded import assert_elements, assert_near, record
from parity.weights import official_dreamer

OFFICIAL = record("d_heads")
FEAT = OFFICIAL["feat"]
EPS = torch.finfo(torch.float32).eps
TANH_ERROR = 2 * EPS
"""How far two float32 implementations of tanh may lie from its true value near 1, absolute."""
ATANH_ERROR = 32 * EPS
"""The same for atanh, relative; TensorFlow's is off by 21 EPS at the action nearest to 1."""


@pytest.fixture(scope="module")
def dreamer() -> Dreamer:
    return official_dreamer(pcont=True)


def policy(dreamer: Dreamer, rows: int = len(FEAT)) -> TanhNormal:
    result = dreamer.actor(FEAT[:rows])
    assert isinstance(result, TanhNormal)
    return result


def atanh(action: Tensor) -> Tensor:
    return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))


@FAST
def test_means_equal_recorded(fast: bool) -> None:
    dreamer = official_dreamer(pcont=True, fast=fast)
    model = dreamer.world_model
    assert model.pcont is not None
    assert_elements(model.decoder(FEAT)["image"], OFFICIAL["decoder_mean"])
    assert_elements(model.reward(FEAT), OFFICIAL["reward_mean"])
    assert_elements(dreamer.value(FEAT), OFFICIAL["value_mean"])
    assert_elements(model.pcont(FEAT), OFFICIAL["pcont_logits"])
    assert_elements(model.discount(FEAT), OFFICIAL["pcont_prob"])


@FAST
def test_log_densities_equal_recorded(fast: bool) -> None:
    model = official_dreamer(pcont=True, fast=fast).world_model
    batch = {
        "image": (OFFICIAL["image_target"] + 0.5) * 255,  # preprocessing undone: the targets are no pixels
        "reward": OFFICIAL["scalar_target"],
        "discount": OFFICIAL["pcont_target"] / model.gamma,
    }
    batch = {key: x[None] for key, x in batch.items()}
    embed = torch.zeros(1, len(FEAT), model.encoder.size)  # unused: the objective is reconstruction
    log_probs = model.log_probs(FEAT[None], embed, batch)
    assert_near(log_probs["image"][0], OFFICIAL["decoder_logprob"], rtol=1e-6)
    assert_near(log_probs["reward"][0], OFFICIAL["reward_logprob"], rtol=1e-5)
    assert_near(log_probs["pcont"][0], OFFICIAL["pcont_logprob"], rtol=1e-5)


def test_image_density_is_a_sum_over_pixels(dreamer: Dreamer) -> None:
    elements = unit_log_prob(dreamer.world_model.decoder(FEAT)["image"], OFFICIAL["image_target"])
    assert_near(elements.flatten(1).sum(-1), OFFICIAL["decoder_logprob"], rtol=1e-6)


def test_actor_equals_recorded(dreamer: Dreamer) -> None:
    actor, eps = policy(dreamer), OFFICIAL["actor_eps"]
    assert_elements(actor.mean, OFFICIAL["actor_mean"])
    assert_elements(actor.std, OFFICIAL["actor_std"])
    assert_elements(actor.mean + actor.std * eps, OFFICIAL["actor_pretanh"])
    assert_elements(actor.sample(eps), OFFICIAL["actor_action"])


def test_actor_density_equals_recorded(dreamer: Dreamer) -> None:
    actor = policy(dreamer)
    exact = actor.log_prob(OFFICIAL["actor_pretanh"])
    assert_near(exact, OFFICIAL["actor_logprob_exact"], rtol=1e-5)
    moderate = actor.log_prob(torch.atanh(OFFICIAL["moderate_action"]))
    assert_near(moderate, OFFICIAL["moderate_action_logprob"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["saturated_action", "actor_action"])
def test_actor_density_near_one_equals_recorded(dreamer: Dreamer, name: str) -> None:
    recorded = {"actor_action": "actor_logprob_official_fresh_tensor"}.get(name, f"{name}_logprob")
    actor = policy(dreamer)
    error = largest_change(actor, *inverse_range(OFFICIAL[name], rounding=0))
    assert_densities(actor.log_prob(atanh(OFFICIAL[name])), OFFICIAL[recorded], error)


@pytest.mark.parametrize("rows", [1, 7])
def test_average_of_samples_equals_recorded(dreamer: Dreamer, rows: int) -> None:
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(dreamer, rows)
    eps = official["eps"]
    assert_elements(actor.mean + actor.std * eps, official["pretanh_samples"])
    assert_elements(actor.sample(eps).mean(0), official["mean"])


@pytest.mark.parametrize("rows", [1, 7])
def test_entropy_equals_recorded(dreamer: Dreamer, rows: int) -> None:
    # Ours is exact; the official one comes through atanh.
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(dreamer, rows)
    pretanh, entropy = official["pretanh_samples"].double(), actor.entropy(official["eps"])
    assert_near(entropy, -actor.log_prob(official["pretanh_samples"]).mean(0), rtol=1e-5)
    low, high = inverse_range(torch.tanh(pretanh), TANH_ERROR)
    error = largest_change(actor, torch.minimum(low, pretanh), torch.maximum(high, pretanh))
    assert_densities(entropy, official["entropy"], error.mean(0))


@pytest.mark.parametrize("rows", [1, 7])
def test_sample_densities_through_atanh_equal_recorded(dreamer: Dreamer, rows: int) -> None:
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(dreamer, rows)
    pretanh = official["pretanh_samples"]
    error = largest_change(actor, *inverse_range(torch.tanh(pretanh.double()), TANH_ERROR))
    assert_densities(actor.log_prob(atanh(torch.tanh(pretanh))), official["logprob_of_samples"], error)


@pytest.mark.parametrize("rows", [1, 7])
def test_mode_is_the_most_likely_sample_of_each_row(dreamer: Dreamer, rows: int) -> None:
    # The official code takes the best sample of row 0 for all rows; here every row has its own.
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(dreamer, rows)
    actions = actor.sample(official["eps"])
    best = actor.log_prob(atanh(actions)).argmax(0)
    mode = actor.mode(official["eps"])
    assert torch.equal(mode, actions[best, torch.arange(rows)])
    if best[0] == official["logprob_of_samples"][:, 0].argmax():  # else two samples are equally likely
        assert_elements(mode[0], official["mode"][0])


def inverse_range(action: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """The interval in which a float32 atanh lies, if `action` is off by up to `rounding`; in float64.

    d atanh(a) / da = 1 / (1 - a^2): the nearer the action is to 1, the wider the interval. Actions are
    clipped to the largest float32 below 1, which ends it at 8.7.
    """
    ends = [(action.double() + off).clamp(-LARGEST_ACTION, LARGEST_ACTION) for off in (-rounding, rounding)]
    low, high = map(torch.atanh, ends)
    return low - ATANH_ERROR * low.abs(), high + ATANH_ERROR * high.abs()


def largest_change(actor: TanhNormal, low: Tensor, high: Tensor) -> Tensor:
    """The most by which the log-density changes, if each pre-tanh value moves within its interval.

    The slope of -(x - mean)^2 / (2 std^2) is steepest at an end; that of -log(1 - tanh^2 x) is at most 2.
    """
    farthest = torch.maximum((low - actor.mean).abs(), (high - actor.mean).abs())
    return ((high - low) * (farthest / actor.std.square() + 2)).sum(-1)


def assert_densities(ours: Tensor, official: Tensor, error: Tensor) -> None:
    """Both are equal up to rounding (1e-5) and up to the given error of the inverted tanh, in nats."""
    excess = (ours - official).abs() - error - 1e-5 * (1 + official.abs())
    assert excess.max() <= 0, f"off by {float(excess.max()):.3g} nats more than float32 explains"
