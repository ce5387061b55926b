from typing import Any

import pytest
import torch

from bench.small import TIMER, small_run
from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.bench.parts import parts
from dreamer.bench.random_data import random_batch
from dreamer.bench.roofline import count_flops
from dreamer.config import ReplayConfig
from dreamer.types import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(2))
SIZES = ReplayConfig(batch_size=2, batch_length=3)
MODEL = ["encoder", "observe", "decoder", "heads"]
IMAGINATION = ["imagine", "imagined heads"]

KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dreamer": ({}, MODEL + IMAGINATION),
    "dreamer, plain": ({"fast": False}, MODEL + IMAGINATION),
    "dreamer, bfloat16": ({"precision": "bfloat16"}, MODEL + IMAGINATION),
    "discount head": ({"pcont": True}, MODEL + IMAGINATION),
    "no value": ({"agent": "no-value"}, MODEL + IMAGINATION),
    "planet": ({"agent": "planet"}, MODEL),
    "contrastive": ({"objective": "contrastive"}, MODEL + IMAGINATION),
    "no decoder": (
        {"objective": "reward-only", "video_every": 0},
        ["encoder", "observe", "heads", *IMAGINATION],
    ),
}


def agent(**options: Any) -> Agent:
    return make_agent(SPEC, small_run(**options))


@pytest.mark.parametrize(("options", "names"), KINDS.values(), ids=KINDS.keys())
def test_parts_of_every_agent(options: dict[str, Any], names: list[str]) -> None:
    *networks, optimizers = parts(TIMER, agent(**options), SIZES)
    assert [m.name for m in networks] == [f"{n} {way}" for n in names for way in ("forward", "backward")]
    assert all(m.flops > 0 and m.floor and m.median > 0 for m in networks)
    assert (optimizers.name, optimizers.flops) == ("optimizers", 0)


@pytest.mark.parametrize("fast", [False, True])
def test_parts_hold_nearly_all_operations_of_a_step(fast: bool) -> None:
    """Behavior learning differentiates the imagined states twice, the parts once: so nearly."""
    dreamer, batch = agent(fast=fast), random_batch(SPEC, 2, 3)
    total = count_flops(lambda: dreamer.update(batch))
    assert sum(m.flops for m in parts(TIMER, dreamer, SIZES)) == pytest.approx(total, rel=0.05)


def test_operations_of_imagination_by_hand() -> None:
    found = {m.name: m for m in parts(TIMER, agent(), SIZES)}
    rows, features, units, outputs = 2 * 3 * 2, 4 + 16, 16, 4  # batch, length, horizon; S + D; mean and std
    actor = features * units + 3 * units * units + units * outputs
    dynamics = (4 + 2) * 16 + 2 * 16 * 48 + 16 * 16 + 16 * 8  # GRU's input layer, GRU, prior
    assert found["imagine forward"].flops == 2 * rows * (actor + dynamics)
    heads = (features * units + units * units + units) + (features * units + 2 * units * units + units)
    assert found["imagined heads forward"].flops == 2 * rows * heads  # reward and value


def test_optimizers_change_the_weights() -> None:
    dreamer = agent()
    assert isinstance(dreamer.algorithm, Dreamer)
    before = dreamer.algorithm.value.out.weight.clone()
    list(parts(TIMER, dreamer, SIZES))
    assert not torch.equal(before, dreamer.algorithm.value.out.weight)
