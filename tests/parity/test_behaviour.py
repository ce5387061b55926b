"""f_behaviour.npz: dreams, lambda-returns, actor and value losses and their gradients."""

import pytest

from parity.checks import check_behaviour
from parity.recorded import record
from parity.weights import official_agent


@pytest.mark.parametrize("pcont", [False, True], ids=["pcont_off", "pcont_on"])
def test_behaviour(pcont: bool) -> None:
    check_behaviour(official_agent(pcont), record("f_behaviour"), f"pcont_{'on' if pcont else 'off'}/")
