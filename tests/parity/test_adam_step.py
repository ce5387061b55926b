"""h_adam_step.npz: gradients clipped and applied by Adam with Keras' epsilon."""

import pytest
import torch

from dreamer.agents.optimizer import Optimizer
from dreamer.config import OptimizerConfig
from parity.checks import check_update
from parity.recorded import assert_near, record
from parity.weights import official_agent

OFFICIAL = record("h_adam_step")


@pytest.mark.parametrize("pcont", [False, True], ids=["pcont_off", "pcont_on"])
def test_update_of_all_three_networks(pcont: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = official_agent(pcont)
    check_update(agent, OFFICIAL, f"pcont_{'on' if pcont else 'off'}/", monkeypatch)


@pytest.mark.parametrize("case", ["unit_clipped", "unit_unclipped"])
def test_five_steps(case: str) -> None:
    official, defaults = OFFICIAL.under(f"{case}/"), OptimizerConfig()
    weights = {name: torch.nn.Parameter(official[name].clone()) for name in ("w_a", "w_b")}
    lr = float(official["lr"])
    optimizer = Optimizer(weights.values(), lr, defaults.grad_clip)
    steps = [official.under(f"step{t}/") for t in range(5)]
    clipped = [bool(step["norm"] > defaults.grad_clip) for step in steps]
    assert any(clipped) == (case == "unit_clipped")
    for step in steps:
        norm = optimizer.apply((step["g_a"], step["g_b"]))
        assert_near(norm, step["norm"], rtol=1e-4)
        for name, weight in weights.items():
            assert_near(weight, step[name], rtol=0, atol=0.02 * lr, name=name)
