"""f_behaviour.npz: imagined trajectories, lambda-returns, actor and value losses and their gradients."""

from parity.checks import FAST, PCONT, check_behaviour
from parity.recorded import record
from parity.weights import official_dreamer


@FAST
@PCONT
def test_behaviour_equals_recorded(pcont: bool, fast: bool) -> None:
    dreamer = official_dreamer(pcont, fast=fast)
    check_behaviour(dreamer, record("f_behaviour"), f"pcont_{'on' if pcont else 'off'}/")
