"""InfoNCE against plain loops, and what each objective trains."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.config import ModelConfig
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.world_model.contrastive import info_nce, log_densities, window_info_nce
from dreamer.world_model.world_model import WorldModel

SPEC = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(2))
SIZES: dict[str, Any] = {"stoch": 3, "deter": 8, "hidden": 8, "units": 8, "cnn_depth": 2}


def random_gaussians(batch: int, time: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (batch, time, size)
    return torch.randn(shape), torch.randn(shape), 0.2 + torch.rand(shape)


def density(x: Tensor, mean: Tensor, std: Tensor) -> float:
    return float(torch.distributions.Normal(mean.double(), std.double()).log_prob(x.double()).sum())


def log_sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def test_densities_of_sharp_predictions_far_from_zero() -> None:
    feat, mean, std = (x.flatten(0, 1) for x in random_gaussians(2, 3, 230))
    feat, mean, std = feat + 5, feat + 5 + 0.05 * mean, 0.05 * std
    ours = log_densities(feat, mean, std)
    expected = [[density(s, m, d) for m, d in zip(mean, std, strict=True)] for s in feat]
    torch.testing.assert_close(ours.double(), torch.tensor(expected, dtype=torch.double), rtol=1e-4, atol=0.5)


def test_paper_form_against_a_loop_over_observations() -> None:
    feat, mean, std = random_gaussians(3, 4, 5)
    ours = info_nce(feat, mean, std)
    for b in range(3):
        for t in range(4):
            own = density(feat[b, t], mean[b, t], std[b, t])
            others = [density(feat[b, t], mean[i, j], std[i, j]) for i in range(3) for j in range(4)]
            assert ours[b, t] == pytest.approx(own - log_sum(others), abs=1e-3)


@pytest.mark.parametrize(("batch", "time"), [(3, 4), (11, 2)], ids=["smaller_than_window", "odd"])
def test_window_form_against_rolled_features(batch: int, time: int) -> None:
    feat, mean, std = random_gaussians(batch, time, 4)
    predicted = torch.distributions.Normal(mean, std)
    rolled = [feat.roll((i, j), (0, 1)) for i in range(-5, 5) for j in range(-15, 15)]
    contrast = torch.stack([predicted.log_prob(x).sum(-1) for x in rolled]).logsumexp(0)
    expected = predicted.log_prob(feat).sum(-1) - contrast
    assert len(rolled) == 300
    torch.testing.assert_close(window_info_nce(feat, mean, std), expected, rtol=1e-4, atol=1e-3)


def test_bound_is_zero_for_telling_predictions_and_log_n_for_blind_ones() -> None:
    feat = torch.randn(4, 5, 6)
    telling = info_nce(feat, feat, torch.full_like(feat, 0.01))
    blind = info_nce(feat, torch.zeros_like(feat), torch.ones_like(feat))
    torch.testing.assert_close(telling, torch.zeros(4, 5), rtol=0, atol=1e-3)
    torch.testing.assert_close(blind, torch.full((4, 5), -math.log(20)), rtol=0, atol=1e-4)


def random_batch(batch: int = 2, time: int = 6) -> dict[str, Tensor]:
    return {
        "image": torch.randint(0, 256, (batch, time, 32, 32, 3), dtype=torch.uint8),
        "state": torch.randn(batch, time, 3),
        "action": torch.rand(batch, time, 2) * 2 - 1,
        "reward": torch.randn(batch, time),
        "discount": torch.ones(batch, time),
        "is_first": torch.zeros(batch, time, dtype=torch.bool),
    }


def parts_moved(model: WorldModel, loss: Tensor) -> set[str]:
    """Names of the world model's parts that a loss gives a gradient."""
    model.zero_grad()
    loss.backward()
    return {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("objective", ["contrastive", "contrastive-tf1"])
def test_contrastive_trains_states_and_state_model_but_no_decoder(objective) -> None:
    model = WorldModel(SPEC, ModelConfig(objective=objective, **SIZES))
    loss, metrics, _ = model.loss(random_batch(), torch.randn(2, 6, 3))
    assert parts_moved(model, loss) == {"encoder", "rssm", "reward", "state_model"}
    expected = metrics["model/contrast_loss"] + metrics["model/reward_loss"] + 3
    torch.testing.assert_close(loss.detach(), expected)  # the KL is under the free nats
    assert "model/image_loss" not in metrics


def test_reward_only_has_the_reward_alone() -> None:
    model = WorldModel(SPEC, ModelConfig(objective="reward-only", free_nats=0, **SIZES))
    loss, metrics, _ = model.loss(random_batch(), torch.randn(2, 6, 3))
    assert parts_moved(model, loss) == {"encoder", "rssm", "reward"}
    torch.testing.assert_close(loss.detach(), metrics["model/kl"] + metrics["model/reward_loss"])


@pytest.mark.parametrize("objective", ["contrastive", "reward-only"])
def test_diagnostic_decoder_only_looks_on(objective) -> None:
    model = WorldModel(SPEC, ModelConfig(objective=objective, **SIZES))
    batch = random_batch()
    _, _, posterior = model.loss(batch, torch.randn(2, 6, 3))
    loss, metrics = model.diagnostic_loss(posterior, batch)
    assert parts_moved(model, loss) == {"decoder"}
    assert set(metrics) == {"model/image_loss", "model/state_loss"}
    learners, onlookers = model.learners(), list(model.decoder.parameters())
    assert len(learners) + len(onlookers) == len(list(model.parameters()))


def test_without_diagnostic_decoder_there_is_none() -> None:
    model = WorldModel(SPEC, ModelConfig(objective="reward-only", **SIZES), diagnostic_decoder=False)
    assert not model.decoder.draws
    assert not model.diagnoses
    assert len(model.learners()) == len(list(model.parameters()))


def test_contrastive_learns_to_tell_observations_apart() -> None:
    model = WorldModel(SPEC, ModelConfig(objective="contrastive", **SIZES))
    batch, adam = random_batch(2, 8), torch.optim.Adam(model.learners(), lr=3e-3)
    batch["state"] = torch.eye(16)[:, :3].view(2, 8, 3) * 5 + torch.arange(16.0).view(2, 8, 1)
    scores = []
    for _ in range(150):
        loss, metrics, _ = model.loss(batch, torch.randn(2, 8, 3))
        adam.zero_grad()
        loss.backward()
        adam.step()
        scores.append(-float(metrics["model/contrast_loss"]))
    assert scores[0] == pytest.approx(-math.log(16), abs=0.5)
    assert scores[-1] > 0.5 * scores[0]


def test_free_nats_of_every_element() -> None:
    config = ModelConfig(free_avg=False, free_nats=3, **SIZES)
    kl = torch.tensor([[1.0, 9.0], [2.0, 4.0]])
    assert WorldModel(SPEC, config)._above_free_nats(kl) == pytest.approx((3 + 9 + 3 + 4) / 4)
    assert WorldModel(SPEC, ModelConfig(free_nats=3, **SIZES))._above_free_nats(kl) == pytest.approx(4)


def test_rewards_are_squashed_for_the_reward_head_alone() -> None:
    batch = random_batch()
    batch["reward"] = batch["reward"] * 10
    raw = batch["reward"].clone()
    model = WorldModel(SPEC, ModelConfig(clip_rewards="tanh", **SIZES))
    feat = torch.randn(2, 6, model.feat_size)
    with torch.no_grad():
        log_prob = model.log_probs(feat, batch)["reward"]
        expected = torch.distributions.Normal(model.reward(feat), 1).log_prob(raw.tanh())
    torch.testing.assert_close(log_prob, expected)
    assert torch.equal(batch["reward"], raw)
