"""The official weights in our modules, and our tensors (weights, gradients) in the official layouts.

An official tensor is called `module/layer/kind`. Each is one of our parameters with its axes in another
order; only the GRU's bias is two of ours. Both ways are mere permutations: gradients go back by them too.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.config import BehaviorConfig, Config, ModelConfig
from dreamer.fast import accelerate
from dreamer.types import ActionSpec, EnvSpec
from parity.recipe import generate, official_weights
from parity.recorded import record

OWNERS = {"encoder": "model", "rssm": "model", "decoder": "model", "reward": "model", "pcont": "model"}
OWNERS |= {"actor": "actor", "value": "value"}

Device = Literal["cpu", "cuda"]

RSSM_LAYERS = {
    "img1": "gru_input",
    "img2": "prior_hidden",
    "img3": "prior_out",
    "obs1": "posterior_hidden",
    "obs2": "posterior_out",
}


class Layout(NamedTuple):
    """Where an official tensor lives in ours, and the way there and back."""

    parameters: tuple[str, ...]
    to_ours: Callable[[Tensor], tuple[Tensor, ...]]
    to_official: Callable[..., Tensor]


def _permuted(parameter: str, *axes: int) -> Layout:
    back = tuple(np.argsort(axes))
    return Layout((parameter,), lambda x: (x.permute(axes),), lambda y: y.permute(back))


def _swap_gates(x: Tensor) -> Tensor:
    """Column blocks z, r, h (Keras) to r, z, n (PyTorch), or back."""
    first, second, candidate = x.chunk(3, -1)
    return torch.cat([second, first, candidate], -1)


def layout(name: str) -> Layout:
    """The layout of one official tensor."""
    module, layer, kind = name.split("/")
    if (module, layer) == ("rssm", "gru"):
        return _gru_layout(kind)
    parameter = f"{_path(module, layer)}.{'bias' if kind == 'bias' else 'weight'}"
    if kind == "bias":
        return _permuted(parameter, 0)
    if module == "encoder" or (module == "decoder" and layer != "h1"):
        return _permuted(parameter, 3, 2, 0, 1)
    return _permuted(parameter, 1, 0)


def _path(module: str, layer: str) -> str:
    if module == "rssm":
        return f"world_model.rssm.{RSSM_LAYERS[layer]}"
    if module in ("encoder", "decoder"):
        image, index = f"world_model.{module}.networks.0", int(layer[1:])
        if module == "encoder":
            return f"{image}.layers.{index - 1}"
        return f"{image}.dense" if index == 1 else f"{image}.layers.{index - 2}"
    head = {"actor": "actor.mlp", "value": "value"}.get(module, f"world_model.{module}")
    return f"{head}.out" if layer == "hout" else f"{head}.hidden.{layer[1:]}"


def _gru_layout(kind: str) -> Layout:
    if kind == "bias":
        names = ("world_model.rssm.gru.bias_ih", "world_model.rssm.gru.bias_hh")
        return Layout(names, lambda x: tuple(_swap_gates(x)), lambda *y: _swap_gates(torch.stack(y)))
    name = f"world_model.rssm.gru.weight_{'ih' if kind == 'kernel' else 'hh'}"
    return Layout((name,), lambda x: (_swap_gates(x).T,), lambda y: _swap_gates(y.T))


def parameters(dreamer: Dreamer) -> dict[str, Tensor]:
    """All parameters by name."""
    return dict(dreamer.named_parameters())


def official_names(dreamer: Dreamer) -> list[str]:
    """The official tensors that a Dreamer has, in sorted order."""
    ours = set(parameters(dreamer))
    return sorted(name for name in official_weights() if set(layout(name).parameters) <= ours)


def to_official(ours: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Tensors named as our parameters, by their official names and in the official layouts."""
    layouts = {name: layout(name) for name in names}
    return {n: form.to_official(*(ours[p].detach() for p in form.parameters)) for n, form in layouts.items()}


@torch.no_grad()
def load(dreamer: Dreamer, weights: Mapping[str, Tensor]) -> None:
    """Copy official weights; every one of our parameters must be named."""
    ours = parameters(dreamer)
    missing = set(ours)
    for name in official_names(dreamer):
        form = layout(name)
        for parameter, value in zip(form.parameters, form.to_ours(weights[name]), strict=True):
            assert ours[parameter].shape == value.shape, name
            ours[parameter].copy_(value)
            missing.discard(parameter)
    assert not missing, f"no official weights for {sorted(missing)}"


def build(depth: int, pcont: bool, fast: bool, device: Device = "cpu") -> Dreamer:
    """A Dreamer with the sizes of the recorded weights, the convolutions `depth` channels wide."""
    weights, batch = official_weights(), record("batch")
    model = ModelConfig(
        stoch=weights["rssm/img3/bias"].numel() // 2,
        deter=weights["rssm/img2/kernel"].shape[0],
        hidden=weights["rssm/img1/bias"].numel(),
        units=weights["reward/h0/bias"].numel(),
        cnn_depth=depth,
        pcont=pcont,
    )
    behavior = BehaviorConfig(horizon=len(batch["eps_imag_action"]))
    height, width, channels = batch["image"].shape[2:]
    spec = EnvSpec({"image": (height, width, channels)}, {}, ActionSpec(batch["action"].shape[-1]))
    dreamer = Dreamer(spec, Config(model=model, behavior=behavior)).to(device)
    if fast:
        accelerate(dreamer)
    return dreamer


def official_dreamer(pcont: bool = False, kl_below: bool = False, fast: bool = False) -> Dreamer:
    """A Dreamer with the generated weights, or those that bring the KL below the free nats."""
    weights: dict[str, Tensor] = dict(official_weights())
    if kl_below:
        weights |= record("weights_kl_below")
    dreamer = build(weights["encoder/h1/bias"].numel(), pcont, fast)
    load(dreamer, weights)
    return dreamer


def full_depth_dreamer(
    pcont: bool = False, kl_below: bool = False, fast: bool = False, device: Device = "cpu"
) -> Dreamer:
    """A Dreamer of the default width with the weights that the recipe of `full_depth.npz` generates."""
    full, actions = record("full_depth"), record("batch")["action"].shape[-1]
    depth = full["embed"].shape[-1] // 32
    weights = generate(depth, actions, seed=int(full["seed"]))
    if kl_below:
        for name in record("weights_kl_below"):
            weights[name] = weights[name] * full["kl_below_factor"]
    dreamer = build(depth, pcont, fast, device)
    load(dreamer, weights)
    return dreamer
