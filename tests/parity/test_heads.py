"""d_heads.npz: decoder, reward, value, discount and actor at given features."""

import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.behavior.actor import LARGEST_ACTION, TanhNormal
from dreamer.world_model.gaussian import unit_log_prob
from parity.recorded import assert_elements, assert_near, record
from parity.weights import official_agent

OFFICIAL = record("d_heads")
FEAT = OFFICIAL["feat"]
ATANH_ERROR = 1.2
"""Nats by which a density may be off where actions within 1e-5 of 1 were inverted in float32."""


@pytest.fixture(scope="module")
def agent() -> Dreamer:
    return official_agent(pcont=True)


def policy(agent: Dreamer, rows: int = len(FEAT)) -> TanhNormal:
    result = agent.behavior.actor(FEAT[:rows])
    assert isinstance(result, TanhNormal)
    return result


def atanh(action: Tensor) -> Tensor:
    return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))


def test_means(agent: Dreamer) -> None:
    model = agent.world_model
    assert model.pcont is not None
    assert_elements(model.decoder(FEAT)["image"], OFFICIAL["decoder_mean"])
    assert_elements(model.reward(FEAT), OFFICIAL["reward_mean"])
    assert_elements(agent.behavior.value(FEAT), OFFICIAL["value_mean"])
    assert_elements(model.pcont(FEAT), OFFICIAL["pcont_logits"])
    assert_elements(model.discount(FEAT), OFFICIAL["pcont_prob"])


def test_log_densities(agent: Dreamer) -> None:
    model = agent.world_model
    batch = {
        "image": (OFFICIAL["image_target"] + 0.5) * 255,  # preprocessing undone: the targets are no pixels
        "reward": OFFICIAL["scalar_target"],
        "discount": OFFICIAL["pcont_target"] / model.gamma,
    }
    log_probs = model.log_probs(FEAT[None], {key: x[None] for key, x in batch.items()})
    assert_near(log_probs["image"][0], OFFICIAL["decoder_logprob"], rtol=1e-6)
    assert_near(log_probs["reward"][0], OFFICIAL["reward_logprob"], rtol=1e-5)
    assert_near(log_probs["pcont"][0], OFFICIAL["pcont_logprob"], rtol=1e-5)


def test_image_density_is_a_sum_over_pixels(agent: Dreamer) -> None:
    elements = unit_log_prob(agent.world_model.decoder(FEAT)["image"], OFFICIAL["image_target"])
    assert_near(elements.flatten(1).sum(-1), OFFICIAL["decoder_logprob"], rtol=1e-6)


def test_actor(agent: Dreamer) -> None:
    actor, eps = policy(agent), OFFICIAL["actor_eps"]
    assert_elements(actor.mean, OFFICIAL["actor_mean"])
    assert_elements(actor.std, OFFICIAL["actor_std"])
    assert_elements(actor.mean + actor.std * eps, OFFICIAL["actor_pretanh"])
    assert_elements(actor.sample(eps), OFFICIAL["actor_action"])


def test_actor_density(agent: Dreamer) -> None:
    actor = policy(agent)
    exact = actor.log_prob(OFFICIAL["actor_pretanh"])
    assert_near(exact, OFFICIAL["actor_logprob_exact"], rtol=1e-5)
    moderate = actor.log_prob(torch.atanh(OFFICIAL["moderate_action"]))
    assert_near(moderate, OFFICIAL["moderate_action_logprob"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["saturated_action", "actor_action"])
def test_actor_density_near_one(agent: Dreamer, name: str) -> None:
    recorded = {"actor_action": "actor_logprob_official_fresh_tensor"}.get(name, f"{name}_logprob")
    density = policy(agent).log_prob(atanh(OFFICIAL[name]))
    assert_near(density, OFFICIAL[recorded], rtol=0, atol=ATANH_ERROR)


@pytest.mark.parametrize("rows", [1, 7])
def test_average_of_samples(agent: Dreamer, rows: int) -> None:
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(agent, rows)
    eps = official["eps"]
    assert_elements(actor.mean + actor.std * eps, official["pretanh_samples"])
    assert_elements(actor.sample(eps).mean(0), official["mean"])


@pytest.mark.parametrize("rows", [1, 7])
def test_entropy(agent: Dreamer, rows: int) -> None:
    # Ours is exact; the official one comes through atanh, so only its error bound can be asked for.
    official, actor = OFFICIAL.under(f"mode_batch{rows}/"), policy(agent, rows)
    entropy = actor.entropy(official["eps"])
    assert_near(entropy, -actor.log_prob(official["pretanh_samples"]).mean(0), rtol=1e-5)
    assert_near(entropy, official["entropy"], rtol=0, atol=ATANH_ERROR)


def test_mode_of_one_row(agent: Dreamer) -> None:
    official, actor = OFFICIAL.under("mode_batch1/"), policy(agent, 1)
    mode, log_probs = actor.mode(official["eps"]), official["logprob_of_samples"][:, 0]
    check_mode(mode[0], official["pretanh_samples"][:, 0], log_probs)
    if is_clear(log_probs):
        assert_elements(mode, official["mode"])


def test_mode_of_each_row_by_itself(agent: Dreamer) -> None:
    # The official code takes the best sample of row 0 for all rows; here every row has its own.
    official, actor = OFFICIAL.under("mode_batch7/"), policy(agent)
    mode = actor.mode(official["eps"])
    for row in range(len(FEAT)):
        check_mode(mode[row], official["pretanh_samples"][:, row], official["logprob_of_samples"][:, row])
    if is_clear(official["logprob_of_samples"][:, 0]):
        assert_elements(mode[0], official["mode"][0])


def is_clear(log_probs: Tensor) -> bool:
    """Whether the best sample leads by more than two implementations of tanh and atanh differ."""
    best, second = log_probs.topk(2).values
    return bool(best - second > ATANH_ERROR)


def check_mode(mode: Tensor, pretanh: Tensor, log_probs: Tensor) -> None:
    """The mode is one of the samples, and none is clearly more likely by the official densities."""
    distance = (torch.tanh(pretanh) - mode).abs().amax(-1)
    chosen = distance.argmin()
    assert distance[chosen] < 1e-5
    assert log_probs[chosen] >= log_probs.max() - ATANH_ERROR
