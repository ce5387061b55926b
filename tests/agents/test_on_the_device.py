"""An update is all on the device: it reads no number back and brings none, so a CUDA graph can hold it."""

import traceback
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.test_agent_kinds import BOX, BUTTONS, agent_of, random_batch
from dreamer.spec import EnvSpec

HOST = ("lift_fresh", "_local_scalar_dense", "nonzero", "masked_select", "unique")
"""In names of operations that wait for the device, or copy what lies in the host's memory."""
CHECKED_ON_CPU_ALONE = "dreamer/behavior/one_hot.py"
"""Where PyTorch looks whether numbers are in range, which it leaves to the kernel on a GPU (`F.one_hot`)."""

KINDS: dict[str, tuple[EnvSpec, dict[str, Any]]] = {
    "dreamer": (BOX, {}),
    "bfloat16": (BOX, {"precision": "bfloat16"}),
    "discrete, with ends": (BUTTONS, {"pcont": True}),
    "no value": (BOX, {"agent": "no-value"}),
    "no value, discrete": (BUTTONS, {"agent": "no-value"}),
    "planet": (BOX, {"agent": "planet"}),
    "contrast": (BOX, {"objective": "contrastive"}),
    "contrast of the first code": (BOX, {"objective": "contrastive-tf1"}),
    "reward only": (BOX, {"objective": "reward-only"}),
    "free nats of every step": (BOX, {"free_avg": False}),
    "scaled gradient of the posterior": (BOX, {"rep_scale": 0.1}),
    "clipped rewards": (BOX, {"clip_rewards": "tanh"}),
}


class Watch(TorchDispatchMode):
    """Notes where the host takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if any(part in name for part in HOST):
            frames = [frame for frame in traceback.extract_stack() if "/dreamer/" in frame.filename]
            if not any(frame.filename.endswith(CHECKED_ON_CPU_ALONE) for frame in frames):
                where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "a test"
                self.found.append(f"{name} in {where}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_never_turns_to_the_host(kind: str) -> None:
    spec, options = KINDS[kind]
    agent, batch = agent_of(spec, **options), random_batch(spec)
    for learning in ("model", "model and value", "all"):
        with Watch() as watch:
            agent.update(batch, learning)
        assert watch.found == []


def test_the_watch_sees_what_it_should() -> None:
    turns = [lambda: torch.tensor([1, 2]), lambda: float(torch.ones(1)), lambda: torch.ones(3).nonzero()]
    for turn in turns:
        with Watch() as watch:
            turn()
        assert len(watch.found) == 1
