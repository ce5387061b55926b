"""Whole losses and updates against a record; the same at the small width and at the default one."""

import pytest
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.behavior.imagination import discount_weights, imagination_starts, lambda_return
from dreamer.types import Batch, Metrics, Noise
from dreamer.world_model.rssm import State
from helpers import trial_update
from parity.recorded import (
    Record,
    assert_elements,
    assert_gradients,
    assert_near,
    assert_samples,
    assert_state,
    norm,
    record,
)
from parity.weights import OWNERS, official_names, parameters, to_official

BATCH_KEYS = ("image", "action", "reward", "discount")

FAST = pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
PCONT = pytest.mark.parametrize("pcont", [False, True], ids=["pcont_off", "pcont_on"])
KL = pytest.mark.parametrize("kl", ["kl_above", "kl_below"])


def device_of(dreamer: Dreamer) -> torch.device:
    return next(dreamer.parameters()).device


def batch(device: torch.device | None = None) -> Batch:
    """The recorded batch, whose rows are episodes from their beginning on."""
    recorded = {key: record("batch")[key].to(device) for key in BATCH_KEYS}
    is_first = torch.zeros_like(recorded["reward"], dtype=torch.bool)
    is_first[:, 0] = True
    return recorded | {"is_first": is_first}


def noise(dreamer: Dreamer) -> Noise:
    """The recorded noise of an update: none of it for imagination from the last steps where pcont is on."""
    recorded, device = record("batch"), device_of(dreamer)
    sequences, length = recorded["reward"].shape
    rows = torch.arange(sequences * length).view(sequences, length)
    rows = rows[:, : length - (dreamer.world_model.pcont is not None)].flatten()
    return {
        "filter": recorded["eps_post"].to(device),
        "action": recorded["eps_imag_action"][:, rows].to(device),
        "state": recorded["eps_imag_latent"][:, rows].to(device),
    }


def owned(dreamer: Dreamer, *owners: str) -> list[str]:
    """The official tensors that these optimizers train."""
    return [name for name in official_names(dreamer) if OWNERS[name.split("/")[0]] in owners]


def official_gradients(dreamer: Dreamer, gradients: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Gradients by optimizer, in the official layouts."""
    optimizers, found = dreamer.optimizers.optimizers, {}
    for owner, each in gradients.items():
        found |= dict(zip(map(id, optimizers[owner].parameters), each, strict=True))
    ours = {name: found[id(x)] for name, x in parameters(dreamer).items() if id(x) in found}
    return to_official(ours, owned(dreamer, *gradients))


@torch.no_grad()
def filtered(dreamer: Dreamer) -> tuple[State, State]:
    """Posterior and prior states of the recorded batch."""
    model, data = dreamer.world_model, batch(device_of(dreamer))
    embed = model.encoder(data)
    return model.rssm.observe(embed, data["action"], data["is_first"], noise(dreamer)["filter"])


def check_world_loss(dreamer: Dreamer, official: Record, prefix: str) -> None:
    """Every part of the world model's loss, and its gradients."""
    expected, model, data = official.under(prefix), dreamer.world_model, batch(device_of(dreamer))
    posterior, prior = filtered(dreamer)
    assert_near(model.kl(posterior, prior)[0], expected["kl_per_step"], rtol=1e-5, name="kl")
    with torch.no_grad():
        log_probs = model.log_probs(posterior.feat, model.encoder(data), data)
    assert_near(log_probs["image"], expected["image_logprob_per_step"], rtol=1e-6, name="image")
    assert_near(log_probs["reward"], expected["reward_logprob_per_step"], rtol=1e-5, name="reward")

    metrics, gradients = trial_update(dreamer, data, noise(dreamer), "model")
    scalars = _scalars(metrics, model.options.free_nats, model.options.pcont_scale)
    recorded = {name for name in expected if "/" not in name and not name.endswith("_per_step")}
    assert set(scalars) | {"model_grad_norm"} == recorded
    for name, value in scalars.items():
        assert_near(value, expected[name], rtol=1e-6 if name == "image_logprob" else 1e-5, name=name)
    assert_near(metrics["model/grad_norm"], expected["model_grad_norm"], rtol=1e-4)
    assert_gradients(official_gradients(dreamer, gradients), official, prefix)


def _scalars(metrics: Metrics, free_nats: float, pcont_scale: float) -> dict[str, Tensor]:
    """The metrics of the loss under their official names."""
    scalars = {
        "model_loss": metrics["model/loss"],
        "kl_mean": metrics["model/kl"],
        "div": metrics["model/kl"].clamp(min=free_nats),
        "image_logprob": -metrics["model/image_loss"],
        "reward_logprob": -metrics["model/reward_loss"],
        "prior_entropy": metrics["model/prior_entropy"],
        "post_entropy": metrics["model/posterior_entropy"],
    }
    if "model/pcont_loss" in metrics:
        scalars["pcont_logprob"] = -metrics["model/pcont_loss"]
        scalars["pcont_logprob_scaled"] = -pcont_scale * metrics["model/pcont_loss"]
    return scalars


def check_behavior(dreamer: Dreamer, official: Record, prefix: str) -> None:
    """Imagination, lambda-returns, both losses and their gradients."""
    expected, data = official.under(prefix), batch(device_of(dreamer))
    posterior, _ = filtered(dreamer)
    start, _ = imagination_starts(dreamer.world_model, posterior, data)
    assert_state(start, expected.under("start_"), "start")
    check_imagination(dreamer, start, noise(dreamer), expected)

    metrics, gradients = trial_update(dreamer, data, noise(dreamer))
    del gradients["model"]
    for name in ("actor", "value"):
        assert_near(metrics[f"{name}/loss"], expected[f"{name}_loss"], rtol=1e-5, name=name)
        assert_near(metrics[f"{name}/grad_norm"], expected[f"{name}_grad_norm"], rtol=1e-4, name=name)
    assert_gradients(official_gradients(dreamer, gradients), official, prefix)


def check_imagination(dreamer: Dreamer, start: State, noise: Noise, expected: Record) -> None:
    """The imagined trajectory and everything read from it."""
    model, actor, value_model = dreamer.world_model, dreamer.actor, dreamer.value
    feat = model.rssm.imagine(actor.sample, start, noise["action"], noise["state"]).feat
    assert_elements(feat, expected["imag_feat"], "feat")
    policy = actor(torch.cat([start.feat[None], feat[:-1]]))
    assert_elements(policy.mean, expected["action_mean"], "action mean")
    assert_elements(policy.std, expected["action_std"], "action std")
    assert_elements(policy.mean + policy.std * noise["action"], expected["action_pretanh"], "pre-tanh")
    assert_elements(policy.sample(noise["action"]), expected["action"], "action")
    reward, value, discount = model.reward(feat), value_model(feat), model.discount(feat)
    for name, ours in {"reward": reward, "value": value, "pcont": discount}.items():
        assert_elements(ours, expected[name], name)
    lambda_ = dreamer.config.behavior.lambda_
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], lambda_)
    assert_near(returns, expected["returns"], rtol=0, atol=1e-5, name="returns")
    assert_elements(discount_weights(discount[:-1]), expected["discount_weight"], "weights")


def check_update(dreamer: Dreamer, official: Record, prefix: str) -> None:
    """One whole update from fresh optimizers: what each parameter moves by."""
    expected, names = official.under(prefix), official_names(dreamer)
    before = to_official({k: x.clone() for k, x in parameters(dreamer).items()}, names)
    metrics = dreamer.update(batch(device_of(dreamer)), noise(dreamer))
    after = to_official(parameters(dreamer), names)

    rates = dreamer.config.optimizer
    lrs = {"model": rates.model_lr, "actor": rates.actor_lr, "value": rates.value_lr}
    for owner in lrs:
        official_norm = expected[f"grad_norm_before_clip/{owner}"]
        assert_near(metrics[f"{owner}/grad_norm"], official_norm, rtol=1e-4, name=owner)
    assert set(after) == set(expected.under("delta_norm/"))
    for name, weight in after.items():
        delta = weight - before[name]
        assert_near(norm(delta), expected[f"delta_norm/{name}"], rtol=1e-3, name=name)
        atol = 0.02 * lrs[OWNERS[name.split("/")[0]]]
        assert_samples(delta, official, prefix, "delta", name, atol)
