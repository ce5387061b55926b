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


def _captured(agent: Agent) -> Update:
    """Every update by replay, the first too: what recording takes beforehand is undone."""
    update = make_update(agent, "captured")
    recorded = False

    def replay(batch: dict[str, Tensor]) -> Metrics:
        nonlocal recorded
        if not recorded:
            before = copy.deepcopy(agent.state_dict())
            get_ready(update, batch)
            agent.load_state_dict(before)
            recorded = True
        return update(batch, "all")

    return replay


PATHS = [
    UpdatePath("eager", lambda agent: agent.update, {"update": "eager"}),
    UpdatePath("captured", _captured, {"update": "captured"}, devices=("cuda",)),
]
"""Every way there is, the reference first: the others are measured against it and must agree with it."""


def paths_for(device: torch.device) -> list[UpdatePath]:
    """Return the ways that work on a device, the reference first."""
    return [path for path in PATHS if device.type in path.devices]


def path_named(name: str, device: torch.device) -> UpdatePath:
    """Return one way. Raises `UserError` if there is none of this name for the device."""
    known = {path.name: path for path in paths_for(device)}
    if name not in known:
        raise UserError(f"There is no path {name!r} on {device.type}: choose from {', '.join(known)}.")
    return known[name]
