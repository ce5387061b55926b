"""How far the gradients of a fast or a bfloat16 update are from those of a plain update in float32."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.agents.make import make_agent
from dreamer.bench.random_data import random_batch
from dreamer.config import Config, with_options
from dreamer.presets import paper
from dreamer.types import ActionSpec, EnvSpec
from helpers import first_gradients, learner, small_config

PLAIN: dict[str, Any] = {"fast": False, "precision": "float32"}


def gradients(config: Config, side: int) -> dict[str, Tensor]:
    """The gradient of each network in the first update, as one vector."""
    agent = make_agent(EnvSpec({"image": (side, side, 3)}, {}, ActionSpec(6)), config)
    batch = random_batch(
        agent.spec, config.replay.batch_size, config.replay.batch_length, device=agent.device
    )
    metrics = agent.update(batch)
    found = first_gradients(learner(agent), metrics)
    return {name: torch.cat([x.flatten() for x in vectors]) for name, vectors in found.items()}


def assert_near(config: Config, options: dict[str, Any], side: int, tolerance: float) -> None:
    reference = gradients(with_options(config, PLAIN), side)
    for name, gradient in gradients(with_options(config, options), side).items():
        distance = float((gradient - reference[name]).norm() / reference[name].norm())
        assert distance < tolerance, (name, distance)


def test_bfloat16_gradients_are_near_float32() -> None:
    config = small_config(batch_size=4, batch_length=10, deter=32, hidden=32, units=32, cnn_depth=8)
    assert_near(config, {"fast": True, "precision": "bfloat16"}, 32, 0.1)


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.05)])
def test_fast_gradients_at_the_sizes_of_the_paper(precision: str, tolerance: float) -> None:
    config = with_options(paper(), {"device": "cuda"})
    assert_near(config, {"fast": True, "precision": precision}, 64, tolerance)
