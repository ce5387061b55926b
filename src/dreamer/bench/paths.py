"""The ways in which a gradient step can be executed."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dreamer.agents.agent import Agent, Metrics
from dreamer.agents.captured import get_ready, make_update
from dreamer.errors import UserError

Update = Callable[[dict[str, Tensor]], Metrics]


@dataclass(frozen=True)
class UpdatePath:
    """One way: `make` turns an agent into what updates it on a batch `(B, L, ...)`.

    `options` select the way in a whole run; `devices` are the types of device that it works on.
    """

    name: str
    make: Callable[[Agent], Update]
    options: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu", "cuda")


def _ready(agent: Agent) -> Update:
    """Every update as a run takes its later ones, the first too: what comes before is undone."""
    update = make_update(agent, fast=True)
    ready = False

    def take(batch: dict[str, Tensor]) -> Metrics:
        nonlocal ready
        if not ready:
            before = copy.deepcopy(agent.state_dict())
            get_ready(update, batch)
            agent.load_state_dict(before)
            ready = True
        return update(batch, "all")

    return take


PATHS = [
    UpdatePath("eager", lambda agent: agent.update, {"fast": False}),
    UpdatePath("captured", _ready, {"fast": True}, devices=("cuda",)),
]
"""Every way there is, the reference first: the others are measured against it and must agree with it."""


def paths_for(device: torch.device, fast: bool = True) -> list[UpdatePath]:
    """Return the ways to measure on a device, the one first that a run takes; without `fast` only eager."""
    if not fast:
        return PATHS[:1]
    usual = usual_path(device)
    others = [path for path in PATHS if device.type in path.devices]
    return [usual, *(path for path in others if path is not usual)]


def usual_path(device: torch.device) -> UpdatePath:
    """Return the way that a run with `--fast` takes."""
    return path_named("captured" if device.type == "cuda" else "eager", device)


def path_named(name: str, device: torch.device) -> UpdatePath:
    """Return one way. Raises `UserError` if there is none of this name for the device."""
    known = {path.name: path for path in PATHS if device.type in path.devices}
    if name not in known:
        raise UserError(f"There is no path {name!r} on {device.type}: choose from {', '.join(known)}.")
    return known[name]
