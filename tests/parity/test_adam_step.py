"""h_adam_step.npz: gradients clipped and applied by Adam with Keras' epsilon."""

import pytest
from torch import Tensor, nn

from dreamer.agents.optimizers import Optimizers
from dreamer.config import OptimizerConfig
from dreamer.fast import accelerate
from parity.checks import FAST, PCONT, check_update
from parity.recorded import assert_near, record
from parity.weights import official_dreamer

OFFICIAL = record("h_adam_step")


@FAST
@PCONT
def test_update_of_all_three_networks_equals_recorded(pcont: bool, fast: bool) -> None:
    check_update(official_dreamer(pcont, fast=fast), OFFICIAL, f"pcont_{'on' if pcont else 'off'}/")


class Weights(nn.Module):
    """Two tensors, whose gradients are what `loss` is told."""

    def __init__(self, a: Tensor, b: Tensor, config: OptimizerConfig):
        super().__init__()
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())
        self.optimizers = Optimizers({"model": [self.a, self.b]}, config)

    def loss(self, grad_a: Tensor, grad_b: Tensor) -> Tensor:
        return (self.a * grad_a).sum() + (self.b * grad_b).sum()


@FAST
@pytest.mark.parametrize("case", ["unit_clipped", "unit_unclipped"])
def test_five_steps_equal_recorded(case: str, fast: bool) -> None:
    official = OFFICIAL.under(f"{case}/")
    lr = float(official["lr"])
    config = OptimizerConfig(model_lr=lr)
    weights = Weights(official["w_a"], official["w_b"], config)
    if fast:
        accelerate(weights)
    steps = [official.under(f"step{t}/") for t in range(5)]
    clipped = [bool(step["norm"] > config.grad_clip) for step in steps]
    assert any(clipped) == (case == "unit_clipped")
    for step in steps:
        metrics = weights.optimizers.step({"model": weights.loss(step["g_a"], step["g_b"])})
        assert_near(metrics["model/grad_norm"], step["norm"], rtol=1e-4)
        assert_near(weights.a, step["w_a"], rtol=0, atol=0.02 * lr, name="w_a")
        assert_near(weights.b, step["w_b"], rtol=0, atol=0.02 * lr, name="w_b")
