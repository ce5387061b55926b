"""The comparison systems learn, too: from the disc's position, well above random actions.

Not among them: `--objective reward-only`, which stays below random here (docs/lab-log.md).
"""

from pathlib import Path

import pytest

from training.runs import config, metrics, run
from training.test_learning import BATCH, RANDOM, RATES, SIZES

PLAN = {"plan_horizon": 6, "plan_iterations": 4, "plan_candidates": 60, "plan_elites": 10}
SETTINGS = {**SIZES, **BATCH, **RATES, **PLAN}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind",
    [{"agent": "no-value"}, {"agent": "planet"}, {"objective": "contrastive"}],
    ids=lambda kind: next(iter(kind.values())),
)
def test_a_toy_is_learned(kind, tmp_path: Path) -> None:
    settings = config(
        env="toy:dot",
        obs="state",
        time_limit=100,
        action_repeat=4,
        steps=2500,
        seed_episodes=5,
        seed_frames=1000,
        eval_every=0,
        final_eval_episodes=10,
        **SETTINGS,
        **kind,
    )
    run(settings, tmp_path)
    assert (
        metrics(tmp_path)[-1]["eval/return"] > 2 * RANDOM
    )  # seeds 0, 1: 36, 38; 38, 21; contrastive 66 with seed 1
