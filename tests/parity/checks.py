"""Whole losses and updates against a record; the same at the small width and at the default one."""

import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.behavior.behavior import ImaginationNoise, imagination_starts
from dreamer.behavior.imagine import imagine
from dreamer.behavior.lambda_return import discount_weights, lambda_return
from dreamer.world_model import gaussian
from dreamer.world_model.state import State
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


def batch(device: torch.device | None = None) -> dict[str, Tensor]:
    """The recorded batch, as the agent takes it."""
    return {key: record("batch")[key].to(device) for key in BATCH_KEYS}


def filter_noise(device: torch.device) -> Tensor:
    """The recorded noise of the filter, `(B, T, S)`."""
    return record("batch")["eps_post"].to(device)


def imagination_noise(pcont: bool, device: torch.device) -> ImaginationNoise:
    """The recorded noise of the dreams that are dreamt: none from the last steps where pcont is on."""
    recorded = record("batch")
    sequences, length = recorded["reward"].shape
    rows = torch.arange(sequences * length).view(sequences, length)
    rows = rows[:, : length - pcont].flatten()
    noise = (recorded["eps_imag_action"], recorded["eps_imag_latent"])
    return ImaginationNoise(*(each[:, rows].to(device) for each in noise))


def owned(agent: Dreamer, *owners: str) -> list[str]:
    """The official tensors that these optimisers train."""
    return [name for name in official_names(agent) if OWNERS[name.split("/")[0]] in owners]


def gradients(agent: Dreamer, loss: Tensor, owner: str, retain_graph: bool = False) -> dict[str, Tensor]:
    """Gradients of a loss by one optimiser's parameters, in the official layouts."""
    module = agent.world_model if owner == "model" else getattr(agent.behavior, owner)
    grads = agent.optimizers[owner].gradients(loss, retain_graph)
    found = dict(zip(map(id, module.parameters()), grads, strict=True))
    ours = {name: found[id(x)] for name, x in parameters(agent).items() if id(x) in found}
    return to_official(ours, owned(agent, owner))


def total_norm(tensors: dict[str, Tensor]) -> Tensor:
    return norm(torch.stack([norm(x) for x in tensors.values()]))


@torch.no_grad()
def filtered(agent: Dreamer) -> tuple[State, State]:
    """Posterior and prior states of the recorded batch."""
    model, data = agent.world_model, batch(agent.device)
    return model.rssm.observe(model.encoder(data), data["action"], filter_noise(agent.device))


def check_world_loss(agent: Dreamer, official: Record, prefix: str) -> None:
    """Every part of the world model's loss, and its gradients."""
    expected, model, data = official.under(prefix), agent.world_model, batch(agent.device)
    noise = filter_noise(agent.device)
    posterior, prior = filtered(agent)
    kl = gaussian.kl_divergence(posterior.mean, posterior.std, prior.mean, prior.std)
    assert_near(kl, expected["kl_per_step"], rtol=1e-5, name="kl")
    with torch.no_grad():
        log_probs = model.log_probs(posterior.feat, data)
    assert_near(log_probs["image"], expected["image_logprob_per_step"], rtol=1e-6, name="image")
    assert_near(log_probs["reward"], expected["reward_logprob_per_step"], rtol=1e-5, name="reward")

    loss, metrics, _ = model.loss(data, noise)
    assert_near(loss, expected["model_loss"], rtol=1e-5, name="loss")
    scalars = _scalars(metrics, model.config.free_nats, model.config.pcont_scale)
    recorded = {name for name in expected if "/" not in name and not name.endswith("_per_step")}
    assert set(scalars) | {"model_grad_norm"} == recorded
    for name, value in scalars.items():
        assert_near(value, expected[name], rtol=1e-6 if name == "image_logprob" else 1e-5, name=name)

    grads = gradients(agent, loss, "model")
    assert_near(total_norm(grads), expected["model_grad_norm"], rtol=1e-4)
    assert_gradients(grads, official, prefix)


def _scalars(metrics: dict[str, Tensor], free_nats: float, pcont_scale: float) -> dict[str, Tensor]:
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


def check_behaviour(agent: Dreamer, official: Record, prefix: str) -> None:
    """Imagination, lambda-returns, both losses and their gradients."""
    expected, pcont = official.under(prefix), agent.world_model.pcont is not None
    noise = imagination_noise(pcont, agent.device)
    posterior, _ = filtered(agent)
    start = imagination_starts(posterior, drop_last=pcont)
    assert_state(start, expected.under("start_"), "start")
    check_dream(agent, start, noise, expected)

    actor_loss, value_loss, _ = agent.behavior.losses(agent.world_model, start, noise)
    assert_near(actor_loss, expected["actor_loss"], rtol=1e-5, name="actor loss")
    assert_near(value_loss, expected["value_loss"], rtol=1e-5, name="value loss")
    value_grads = gradients(agent, value_loss, "value", retain_graph=True)
    actor_grads = gradients(agent, actor_loss, "actor")
    assert_near(total_norm(actor_grads), expected["actor_grad_norm"], rtol=1e-4)
    assert_near(total_norm(value_grads), expected["value_grad_norm"], rtol=1e-4)
    assert_gradients({**actor_grads, **value_grads}, official, prefix)


def check_dream(agent: Dreamer, start: State, noise: ImaginationNoise, expected: Record) -> None:
    """The imagined trajectory and everything read from it."""
    model, behavior = agent.world_model, agent.behavior
    feat = imagine(model.rssm, behavior.actor, start, *noise).feat
    assert_elements(feat, expected["imag_feat"], "feat")
    policy = behavior.actor(torch.cat([start.feat[None], feat[:-1]]))
    assert_elements(policy.mean, expected["action_mean"], "action mean")
    assert_elements(policy.std, expected["action_std"], "action std")
    assert_elements(policy.mean + policy.std * noise.action, expected["action_pretanh"], "pre-tanh")
    assert_elements(policy.sample(noise.action), expected["action"], "action")
    reward, value, discount = model.reward(feat), behavior.value(feat), model.discount(feat)
    for name, ours in {"reward": reward, "value": value, "pcont": discount}.items():
        assert_elements(ours, expected[name], name)
    lambda_ = behavior.config.lambda_
    returns = lambda_return(reward[:-1], value[:-1], discount[:-1], value[-1], lambda_)
    assert_near(returns, expected["returns"], rtol=0, atol=1e-5, name="returns")
    assert_elements(discount_weights(discount[:-1]), expected["discount_weight"], "weights")


def check_update(agent: Dreamer, official: Record, prefix: str, monkeypatch) -> None:
    """One whole update from fresh optimisers: what each parameter moves by."""
    expected, data = official.under(prefix), batch(agent.device)
    before = to_official({k: x.clone() for k, x in parameters(agent).items()}, official_names(agent))
    noise = imagination_noise(agent.world_model.pcont is not None, agent.device)
    monkeypatch.setattr(agent, "_filter_noise", lambda _: filter_noise(agent.device))
    monkeypatch.setattr(agent.behavior, "draw_noise", lambda *args: noise)
    is_first = torch.zeros_like(data["reward"], dtype=torch.bool)
    is_first[:, 0] = True
    metrics = agent.update({**data, "is_first": is_first})
    after = to_official(parameters(agent), official_names(agent))

    rates = agent.config.optimizer
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
