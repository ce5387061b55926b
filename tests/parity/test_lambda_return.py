"""g_lambda_return.npz: lambda-returns of many lengths, discounts and mixtures."""

import pytest
import torch

from dreamer.behavior.imagination import lambda_return
from parity.recorded import assert_near, record

OFFICIAL = record("g_lambda_return")


@pytest.mark.parametrize("case", range(int(OFFICIAL["count"])))
def test_lambda_return_equals_recorded(case: int) -> None:
    official = OFFICIAL.under(f"{case:02}/")
    axis = int(official["axis"])
    reward, value = official["reward"].movedim(axis, 0), official["value"].movedim(axis, 0)
    pcont = official["pcont"]
    discount = pcont.movedim(axis, 0) if pcont.ndim else pcont.expand(reward.shape)
    bootstrap = official.get("bootstrap", torch.zeros_like(reward[0]))
    returns = lambda_return(reward, value, discount, bootstrap, float(official["lambda"]))
    assert_near(returns.movedim(0, axis), official["returns"], rtol=0, atol=1e-5)
