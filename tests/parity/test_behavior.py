"""f_behaviour.npz: imagined trajectories, lambda-returns, actor and value losses and their gradients."""

from parity.checks import FAST, PCONT, check_behavior
from parity.recorded import record
from parity.weights import official_dreamer


@FAST
@PCONT
def test_behavior_equals_recorded(pcont: bool, fast: bool) -> None:
    dreamer = official_dreamer(pcont, fast=fast)
    check_behavior(dreamer, record("f_behaviour"), f"pcont_{'on' if pcont else 'off'}/")
