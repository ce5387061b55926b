"""The comparison systems learn, too: from the disc's position, well above random actions."""

from pathlib import Path

import pytest

from training.runs import config, metrics, run
from training.test_learning import RANDOM, RUN

PLAN = {"plan_horizon": 6, "plan_iterations": 4, "plan_candidates": 60, "plan_elites": 10}
SETTINGS = {**RUN, **PLAN}
CLEAR = {"train_steps": 30, "reward_scale": 10.0, "kl_scale": 0.1}
"""Twice the updates, and weights by which rewards are learned well: all that these two agents go by."""
NO_VALUE = {"agent": "no-value", "actor_lr": 5e-4, **CLEAR}
PLANET = {"agent": "planet", **CLEAR}
RANDOM_ON_THE_SLOPE = 30.0
"""Mean return of random actions on `toy:slope`, over ten episodes."""


@pytest.mark.parametrize(
    "kind",
    [NO_VALUE, PLANET, {"objective": "contrastive"}],
    ids=lambda kind: next(iter(kind.values())),
)
def test_a_toy_is_learned(kind, tmp_path: Path) -> None:
    settings = config(env="toy:dot", obs="state", steps=2500, **{**SETTINGS, **kind})
    run(settings, tmp_path)
    # no-value 52, 43, 43, 44 with seeds 0 to 3; planet 56, 54, 57, 50, 50, 62; contrastive 52, 53, 49
    assert metrics(tmp_path)[-1]["eval/return"] > 2 * RANDOM


def test_rewards_alone_are_learned_from_where_they_tell_enough(tmp_path: Path) -> None:
    """On a slope the reward shows where the disc is; around `toy:dot` it does not tell the side."""
    settings = config(env="toy:slope", obs="state", objective="reward-only", steps=2500, **SETTINGS)
    run(settings, tmp_path)
    assert metrics(tmp_path)[-1]["eval/return"] > 2 * RANDOM_ON_THE_SLOPE  # seeds 0, 1, 2: 95, 96, 94
