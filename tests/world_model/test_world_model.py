"""The world model's loss: its parts, its free nats, and that it learns."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.config import Config
from dreamer.types import ActionSpec, Batch, EnvSpec
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel
from helpers import BOTH, IMAGE, SIZES, STATE, random_batch, small_config


def small_model(spec: EnvSpec = IMAGE, **options: Any) -> WorldModel:
    return WorldModel(spec, small_config(**options))


def filter_noise(data: Batch) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn((*data["reward"].shape, SIZES["stoch"]), generator=rng)


@pytest.mark.parametrize("actions", [1, 6, 21])
def test_published_number_of_parameters(actions: int) -> None:
    spec = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(actions))
    count = sum(p.numel() for p in WorldModel(spec, Config()).parameters())
    assert count == 5_295_620 + 200 * actions


@pytest.mark.parametrize("pcont", [False, True])
def test_loss_is_the_sum_of_its_parts(pcont: bool) -> None:
    model, data = small_model(pcont=pcont, free_nats=0.0, kl_scale=0.7), random_batch()
    losses, posterior, metrics = model.losses(data, filter_noise(data))
    parts = 0.7 * metrics["model/kl"] + metrics["model/image_loss"] + metrics["model/reward_loss"]
    if pcont:
        parts = parts + 10 * metrics["model/pcont_loss"]
    torch.testing.assert_close(losses["model"].detach(), parts)
    assert posterior.feat.shape == (*data["reward"].shape, model.feat_size)


def test_reward_scale_weighs_the_reward_loss() -> None:
    """In the loss and in what the reward head learns; the record has its loss unweighed."""
    data, found, gradients = random_batch(), {}, {}
    for scale in (1.0, 10.0):
        torch.manual_seed(0)
        model = small_model(reward_scale=scale)
        losses, _, metrics = model.losses(data, filter_noise(data))
        found[scale] = losses["model"]
        gradients[scale] = torch.autograd.grad(found[scale], list(model.reward.parameters()))
    torch.testing.assert_close(found[10.0], found[1.0] + 9 * metrics["model/reward_loss"])
    assert all(gradient.abs().max() > 0 for gradient in gradients[1.0])
    torch.testing.assert_close(gradients[10.0], tuple(10 * gradient for gradient in gradients[1.0]))


def test_kl_below_the_free_nats_has_no_gradient() -> None:
    data = random_batch()
    grads = {}
    for free_nats in (0.0, 1000.0):
        torch.manual_seed(0)
        model = small_model(free_nats=free_nats)
        losses, _, metrics = model.losses(data, filter_noise(data))
        losses["model"].backward()
        grads[free_nats] = model.rssm.prior_out.weight.grad
        floor = max(free_nats, float(metrics["model/kl"]))
        others = metrics["model/image_loss"] + metrics["model/reward_loss"]
        torch.testing.assert_close(losses["model"].detach(), others + floor)
    # The prior appears in the KL alone.
    assert grads[0.0].abs().max() > 0
    assert grads[1000.0] is None or not grads[1000.0].any()


@pytest.mark.parametrize("free_avg", [True, False])
def test_rep_scale_scales_the_posteriors_gradient_below_the_free_nats(free_avg: bool) -> None:
    data, found = {key: x[:, :1] for key, x in random_batch().items()}, {}
    for free_nats, scale in ((0.0, 0.0), (0.0, 0.1), (1000.0, 0.1)):
        torch.manual_seed(0)
        model = small_model(free_nats=free_nats, free_avg=free_avg, rep_scale=scale)
        model.log_probs = lambda *_: {}  # type: ignore[method-assign]
        losses, _, _ = model.losses(data, filter_noise(data))
        weights = [model.rssm.prior_out.weight, model.rssm.posterior_out.weight]
        found[free_nats, scale] = losses["model"].detach(), *torch.autograd.grad(losses["model"], weights)
    whole = found[0.0, 0.0]
    assert all(torch.equal(x, y) for x, y in zip(found[0.0, 0.1], whole, strict=True))  # above: no difference
    value, of_prior, of_posterior = found[1000.0, 0.1]
    torch.testing.assert_close((value, of_prior), whole[:2])
    # One step has no later prior through which the posterior could be trained as well.
    torch.testing.assert_close(of_posterior, 0.1 * whole[2])


def test_batch_is_learned() -> None:
    """Reward and vector of one batch are predicted far better after some steps, and the KL stays finite."""
    model, data = small_model(STATE, free_nats=0.1, units=32, deter=16), random_batch(STATE, 4, 6)
    noise, adam = torch.zeros(4, 6, SIZES["stoch"]), torch.optim.Adam(model.parameters(), 1e-2)
    errors, metrics = [], {}
    for _ in range(200):
        losses, _, metrics = model.losses(data, noise)
        adam.zero_grad()
        losses["model"].backward()
        adam.step()
        errors.append(float(metrics["model/reward_loss"]) - 0.5 * torch.log(torch.tensor(2 * torch.pi)))
    assert errors[-1] < 0.1 * errors[0]
    assert torch.isfinite(metrics["model/kl"])


def test_open_loop_prediction_sees_the_context_only() -> None:
    model, data = small_model(), random_batch(length=6)
    noise = filter_noise(data)
    shown = model.open_loop(data, 2, noise)["image"]
    changed = {**data, "image": data["image"].clone()}
    changed["image"][:, 2:] = 0
    assert torch.equal(shown, model.open_loop(changed, 2, noise)["image"])
    changed["image"][:, 1] = 0
    assert not torch.equal(shown[:, 2:], model.open_loop(changed, 2, noise)["image"][:, 2:])
    assert 0 <= shown.min() <= shown.max() <= 1
    assert shown.shape == data["image"].shape


def test_discount_is_gamma_or_predicted() -> None:
    feat = torch.randn(4, SIZES["stoch"] + SIZES["deter"])
    assert torch.equal(small_model().discount(feat), torch.full((4,), 0.99))
    predicted = small_model(IMAGE, pcont=True).discount(feat)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert predicted.std() > 0


def test_discount_head_learns_soft_labels() -> None:
    """Its best prediction is gamma where the episode goes on, and 0 where it ended."""
    model, data = small_model(STATE, pcont=True), random_batch(STATE, 1, 2)
    data["discount"] = torch.tensor([[1.0, 0.0]])
    feat = torch.randn(1, 2, model.feat_size)
    logit = torch.tensor([[0.99, 1e-7]]).logit()
    assert model.pcont is not None
    model.pcont.forward = lambda x: logit  # type: ignore[method-assign]
    embed = model.encoder(data)
    best = model.log_probs(feat, embed, data)["pcont"].sum()
    for shift in (-0.5, 0.5):
        model.pcont.forward = lambda x, s=shift: logit + s  # type: ignore[method-assign]
        assert model.log_probs(feat, embed, data)["pcont"].sum() < best


def states_with_kl(kl: Tensor) -> tuple[State, State]:
    """Posterior and prior with this KL `(B, T)`: two unit Gaussians in one dimension, sqrt(2 KL) apart."""
    zeros = torch.zeros_like(kl).unsqueeze(-1)
    mean = (2 * kl).sqrt().unsqueeze(-1)
    return State(mean, zeros + 1, zeros, zeros), State(zeros, zeros + 1, zeros, zeros)


def test_free_nats_of_the_mean_or_of_each_step() -> None:
    posterior, prior = states_with_kl(torch.tensor([[1.0, 9.0], [2.0, 4.0]]))
    assert small_model(free_avg=False).kl(posterior, prior)[1] == pytest.approx((3 + 9 + 3 + 4) / 4)
    assert small_model(free_avg=True).kl(posterior, prior)[1] == pytest.approx(4)


def test_free_nats_follow_the_mean_of_the_whole_batch() -> None:
    """The decision is that of the whole batch, of which a process may have a part."""
    model, kl = small_model(), torch.full((2, 2), 4.0, requires_grad=True)
    assert torch.autograd.grad(model.kl(*states_with_kl(kl))[1], kl)[0].all()
    model.batch_mean = lambda x: x.mean() - 2
    loss = model.kl(*states_with_kl(kl))[1]
    assert loss == 3
    assert not torch.autograd.grad(loss, kl)[0].any()


def test_rewards_are_squashed_for_the_reward_head_alone() -> None:
    data = random_batch()
    data["reward"] = data["reward"] * 10
    raw = data["reward"].clone()
    model = small_model(clip_rewards="tanh")
    feat = torch.randn(3, 7, model.feat_size)
    with torch.no_grad():
        log_prob = model.log_probs(feat, model.encoder(data), data)["reward"]
        expected = torch.distributions.Normal(model.reward(feat), 1).log_prob(raw.tanh())
    torch.testing.assert_close(log_prob, expected)
    assert torch.equal(data["reward"], raw)


def test_errors_are_losses_without_their_constants() -> None:
    model, data = small_model(BOTH), random_batch(BOTH)
    _, posterior, metrics = model.losses(data, filter_noise(data))
    means = model.decoder(posterior.feat)
    squares = (means["image"] - (data["image"].float() / 255 - 0.5)).square().flatten(2).sum(-1)
    # The loss has float32 numbers of some 2,800 in it, each rounded by up to 2^-24 of itself.
    assert metrics["model/image_error"].item() == pytest.approx(0.5 * squares.mean().item(), abs=2e-3)
    squares = (means["state"] - data["state"]).square().sum(-1)
    assert metrics["model/state_error"].item() == pytest.approx(0.5 * squares.mean().item(), abs=1e-5)
    assert metrics["model/reward_mean"].item() == pytest.approx(data["reward"].mean().item(), abs=1e-6)
    assert metrics["model/reward_square"].item() == pytest.approx(data["reward"].square().mean().item())
