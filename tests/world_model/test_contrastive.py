"""InfoNCE against plain loops, and what each objective trains."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.world_model.contrastive import info_nce, log_densities, window_info_nce
from dreamer.world_model.world_model import WorldModel
from helpers import BOTH, random_batch, small_config


def random_gaussians(batch: int, time: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (batch, time, size)
    return torch.randn(shape), torch.randn(shape), 0.2 + torch.rand(shape)


def density(x: Tensor, mean: Tensor, std: Tensor) -> float:
    return float(torch.distributions.Normal(mean.double(), std.double()).log_prob(x.double()).sum())


def log_sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def test_log_densities_of_sharp_predictions_far_from_zero() -> None:
    feat, mean, std = (x.flatten(0, 1) for x in random_gaussians(2, 3, 230))
    feat, mean, std = feat + 5, feat + 5 + 0.05 * mean, 0.05 * std
    ours = log_densities(feat, mean, std)
    expected = [[density(s, m, d) for m, d in zip(mean, std, strict=True)] for s in feat]
    torch.testing.assert_close(ours.double(), torch.tensor(expected, dtype=torch.double), rtol=1e-4, atol=0.5)


def test_info_nce_equals_loop_over_observations() -> None:
    feat, mean, std = random_gaussians(3, 4, 5)
    ours = info_nce(feat, mean, std)
    for b in range(3):
        for t in range(4):
            own = density(feat[b, t], mean[b, t], std[b, t])
            others = [density(feat[b, t], mean[i, j], std[i, j]) for i in range(3) for j in range(4)]
            assert ours[b, t] == pytest.approx(own - log_sum(others), abs=1e-3)


@pytest.mark.parametrize(("batch", "time"), [(3, 4), (11, 2)], ids=["smaller_than_window", "odd"])
def test_window_info_nce_equals_rolled_features(batch: int, time: int) -> None:
    feat, mean, std = random_gaussians(batch, time, 4)
    predicted = torch.distributions.Normal(mean, std)
    rolled = [feat.roll((i, j), (0, 1)) for i in range(-5, 5) for j in range(-15, 15)]
    contrast = torch.stack([predicted.log_prob(x).sum(-1) for x in rolled]).logsumexp(0)
    expected = predicted.log_prob(feat).sum(-1) - contrast
    assert len(rolled) == 300
    torch.testing.assert_close(window_info_nce(feat, mean, std), expected, rtol=1e-4, atol=1e-3)


def test_info_nce_is_zero_for_telling_predictions_and_minus_log_n_for_blind_ones() -> None:
    feat = torch.randn(4, 5, 6)
    telling = info_nce(feat, feat, torch.full_like(feat, 0.01))
    blind = info_nce(feat, torch.zeros_like(feat), torch.ones_like(feat))
    torch.testing.assert_close(telling, torch.zeros(4, 5), rtol=0, atol=1e-3)
    torch.testing.assert_close(blind, torch.full((4, 5), -math.log(20)), rtol=0, atol=1e-4)


def small_model(**options: Any) -> WorldModel:
    return WorldModel(BOTH, small_config(**options))


def parts_moved(model: WorldModel, loss: Tensor) -> set[str]:
    """Names of the world model's parts that a loss gives a gradient."""
    model.zero_grad()
    loss.backward()
    return {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("objective", ["contrastive", "contrastive-tf1"])
def test_contrastive_loss_trains_states_and_state_model_but_no_decoder(objective: str) -> None:
    model = small_model(objective=objective)
    losses, _, metrics = model.losses(random_batch(BOTH), torch.randn(3, 7, 3))
    assert parts_moved(model, losses["model"]) == {"encoder", "rssm", "reward", "state_model"}
    expected = metrics["model/contrast_loss"] + metrics["model/reward_loss"] + 3
    torch.testing.assert_close(losses["model"].detach(), expected)  # the KL is below the free nats


def test_reward_only_loss_has_the_reward_alone() -> None:
    model = small_model(objective="reward-only", free_nats=0.0)
    losses, _, metrics = model.losses(random_batch(BOTH), torch.randn(3, 7, 3))
    assert parts_moved(model, losses["model"]) == {"encoder", "rssm", "reward"}
    torch.testing.assert_close(losses["model"].detach(), metrics["model/kl"] + metrics["model/reward_loss"])


@pytest.mark.parametrize("objective", ["contrastive", "reward-only"])
def test_decoder_for_videos_trains_nothing_else(objective: str) -> None:
    model = small_model(objective=objective)
    losses, _, metrics = model.losses(random_batch(BOTH), torch.randn(3, 7, 3))
    assert parts_moved(model, losses["decoder"]) == {"decoder"}
    decoded = metrics["model/image_loss"] + metrics["model/state_loss"]
    torch.testing.assert_close(losses["decoder"].detach(), decoded)
    trained = {name: {*map(id, each)} for name, each in model.trained_by().items()}
    assert trained["decoder"] == {*map(id, model.decoder.parameters())}
    assert trained["model"] == {*map(id, model.parameters())} - trained["decoder"]


def test_decoder_is_left_out_where_no_videos_are_wanted() -> None:
    model = small_model(objective="reward-only", video_every=0)
    assert not model.decoder.keys
    assert set(model.losses(random_batch(BOTH), torch.randn(3, 7, 3))[0]) == {"model"}
    assert set(model.trained_by()) == {"model"}
    assert len(model.trained_by()["model"]) == len(list(model.parameters()))
    assert small_model(video_every=0).decoder.keys == ["image", "state"]  # reconstruction needs it


def test_contrastive_model_learns_to_tell_observations_apart() -> None:
    model = small_model(objective="contrastive", deter=8, hidden=8)
    batch = random_batch(BOTH, 2, 8)
    adam = torch.optim.Adam(model.trained_by()["model"], lr=3e-3)
    batch["state"] = torch.eye(16)[:, :3].view(2, 8, 3) * 5 + torch.arange(16.0).view(2, 8, 1)
    scores = []
    for _ in range(150):
        losses, _, metrics = model.losses(batch, torch.randn(2, 8, 3))
        adam.zero_grad()
        losses["model"].backward()
        adam.step()
        scores.append(-float(metrics["model/contrast_loss"]))
    chance = -math.log(16)
    assert scores[0] < chance + 0.5
    assert scores[-1] > 0.5 * chance
