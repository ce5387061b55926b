"""The world model's loss: its parts, its free nats, and that it learns."""

import pytest
import torch
from torch import Tensor

from dreamer.config import Config
from dreamer.envs.spec import ActionSpec, EnvSpec
from dreamer.world_model.world_model import WorldModel
from world_model.small import SIZES, SPEC, STATE_SPEC, batch, world_model


def _noise(data: dict[str, Tensor]) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn((*data["reward"].shape, SIZES["stoch"]), generator=rng)


@pytest.mark.parametrize("actions", [1, 6, 21])
def test_published_number_of_parameters(actions: int) -> None:
    spec = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(actions))
    count = sum(p.numel() for p in WorldModel(spec, Config().model).parameters())
    assert count == 5_295_620 + 200 * actions


@pytest.mark.parametrize("pcont", [False, True])
def test_the_loss_is_the_sum_of_its_parts(pcont: bool) -> None:
    model, data = world_model(pcont=pcont, free_nats=0.0, kl_scale=0.7), batch()
    loss, metrics, posterior = model.loss(data, _noise(data))
    parts = 0.7 * metrics["model/kl"] + metrics["model/image_loss"] + metrics["model/reward_loss"]
    if pcont:
        parts = parts + 10 * metrics["model/pcont_loss"]
    torch.testing.assert_close(loss.detach(), parts)
    assert posterior.feat.shape == (*data["reward"].shape, model.feat_size)


def test_the_reward_weighs_as_much_as_it_is_told() -> None:
    """In the loss and in what the reward head learns; the record has its loss unweighed."""
    data, losses, gradients = batch(), {}, {}
    for scale in (1.0, 10.0):
        torch.manual_seed(0)
        model = world_model(reward_scale=scale)
        losses[scale], metrics, _ = model.loss(data, _noise(data))
        gradients[scale] = torch.autograd.grad(losses[scale], list(model.reward.parameters()))
    torch.testing.assert_close(losses[10.0], losses[1.0] + 9 * metrics["model/reward_loss"])
    assert all(gradient.abs().max() > 0 for gradient in gradients[1.0])
    torch.testing.assert_close(gradients[10.0], tuple(10 * gradient for gradient in gradients[1.0]))


def test_under_the_free_nats_the_kl_has_no_gradient() -> None:
    data = batch()
    grads = {}
    for free_nats in (0.0, 1000.0):
        torch.manual_seed(0)
        model = world_model(free_nats=free_nats)
        loss, metrics, _ = model.loss(data, _noise(data))
        loss.backward()
        grads[free_nats] = model.rssm.prior_out.weight.grad
        floor = max(free_nats, float(metrics["model/kl"]))
        others = metrics["model/image_loss"] + metrics["model/reward_loss"]
        torch.testing.assert_close(loss.detach(), others + floor)
    # The prior appears in the KL alone.
    assert grads[0.0].abs().max() > 0
    assert grads[1000.0] is None or not grads[1000.0].any()


@pytest.mark.parametrize("rep_scale", [0.0, 0.1])
def test_rep_scale_scales_the_gradient_of_the_posterior_alone(rep_scale: float) -> None:
    data, found = {key: x[:, :1] for key, x in batch().items()}, {}
    for scale in (1.0, rep_scale):
        torch.manual_seed(0)
        model = world_model(free_nats=0.0, rep_scale=scale)
        model.log_probs = lambda feat, data: {}  # pyright: ignore[reportAttributeAccessIssue]
        loss, _, _ = model.loss(data, _noise(data))
        weights = [model.rssm.prior_out.weight, model.rssm.posterior_out.weight]
        found[scale] = loss.detach(), *torch.autograd.grad(loss, weights)
    value, of_prior, of_posterior = found[rep_scale]
    assert torch.equal(value, found[1.0][0])
    assert torch.equal(of_prior, found[1.0][1])
    # One step has no later prior through which the posterior could be trained as well.
    torch.testing.assert_close(of_posterior, rep_scale * found[1.0][2])


def test_a_batch_is_learned() -> None:
    """Reward and vector of one batch are predicted far better after some steps, and the KL stays finite."""
    model, data = world_model(STATE_SPEC, free_nats=0.1, units=32, deter=16), batch(STATE_SPEC, 4, 6)
    noise, adam = torch.zeros(4, 6, SIZES["stoch"]), torch.optim.Adam(model.parameters(), 1e-2)
    errors = []
    for _ in range(200):
        loss, metrics, _ = model.loss(data, noise)
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append(float(metrics["model/reward_loss"]) - 0.5 * torch.log(torch.tensor(2 * torch.pi)))
    assert errors[-1] < 0.1 * errors[0]
    assert torch.isfinite(metrics["model/kl"])


def test_open_loop_looks_at_the_context_only() -> None:
    model, data = world_model(), batch(length=6)
    noise = _noise(data)
    shown = model.open_loop(data, 2, noise)["image"]
    changed = {**data, "image": data["image"].clone()}
    changed["image"][:, 2:] = 0
    assert torch.equal(shown, model.open_loop(changed, 2, noise)["image"])
    changed["image"][:, 1] = 0
    assert not torch.equal(shown[:, 2:], model.open_loop(changed, 2, noise)["image"][:, 2:])
    assert 0 <= shown.min() <= shown.max() <= 1
    assert shown.shape == data["image"].shape


def test_the_discount_is_gamma_or_predicted() -> None:
    feat = torch.randn(4, SIZES["stoch"] + SIZES["deter"])
    assert torch.equal(world_model().discount(feat), torch.full((4,), 0.99))
    predicted = world_model(SPEC, pcont=True).discount(feat)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert predicted.std() > 0


def test_the_discount_head_learns_soft_labels() -> None:
    """Its best prediction is gamma where the episode goes on, and 0 where it ended."""
    model, data = world_model(STATE_SPEC, pcont=True), batch(STATE_SPEC, 1, 2)
    data["discount"] = torch.tensor([[1.0, 0.0]])
    feat = torch.randn(1, 2, model.feat_size)
    logit = torch.tensor([[0.99, 1e-7]]).logit()
    assert model.pcont is not None
    model.pcont.forward = lambda x: logit  # type: ignore[method-assign]
    best = model.log_probs(feat, data)["pcont"].sum()
    for shift in (-0.5, 0.5):
        model.pcont.forward = lambda x, s=shift: logit + s  # type: ignore[method-assign]
        assert model.log_probs(feat, data)["pcont"].sum() < best
