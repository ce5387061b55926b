"""An update is all on the device: it reads no number back and brings none, so a CUDA graph can hold it."""

import traceback

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import KINDS, random_batch, small_agent

HOST = ("lift_fresh", "_local_scalar_dense", "nonzero", "masked_select", "unique")
"""In names of operations that wait for the device, or copy what lies in the host's memory."""
CHECKED_ON_CPU_ALONE = "dreamer/behavior/distributions.py"
"""Where PyTorch looks whether numbers are in range, which it leaves to the kernel on a GPU (`F.one_hot`)."""


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_update_never_turns_to_the_host(kind: str, precision: str) -> None:
    spec, options = KINDS[kind]
    agent, batch = small_agent(spec, fast=True, precision=precision, **options), random_batch(spec)
    for phase in ("model", "model and value", "all"):
        agent.update(batch, phase)  # the optimizers make their moments at the first step
        with Watch() as watch:
            agent.update(batch, phase)
        assert watch.found == []


def test_watch_reports_transfers_to_the_host() -> None:
    turns = [lambda: torch.tensor([1, 2]), lambda: float(torch.ones(1)), lambda: torch.ones(3).nonzero()]
    for turn in turns:
        with Watch() as watch:
            turn()
        assert len(watch.found) == 1
