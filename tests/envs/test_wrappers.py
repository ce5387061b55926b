"""What an environment returns is converted, or refused in one sentence."""

from typing import Any

import numpy as np
import pytest

from dreamer.envs.wrappers import reward_of
from dreamer.errors import UserError


@pytest.mark.parametrize(
    "reward",
    [
        1,
        1.0,
        True,
        np.bool_(True),
        np.float64(1),
        np.float16(1),
        np.int64(1),
        np.uint8(1),
        np.array(1.0),
        np.array([1.0]),
        np.array([[1]]),
        [1.0],
        (1,),
        [np.float32(1)],
    ],
    ids=repr,
)
def test_reward_of_any_plain_form_is_one_number(reward: Any) -> None:
    converted = reward_of(reward, "gym:Mine-v0")
    assert type(converted) is float
    assert converted == 1


@pytest.mark.parametrize(
    "reward",
    [
        float("nan"),
        np.inf,
        None,
        "1",
        1j,
        [],
        np.ones(2),
        [1.0, 2.0],
        [[1.0], [1.0, 2.0]],
        {"r": 1},
        np.eye(9),
    ],
    ids=repr,
)
def test_reward_that_is_no_finite_number_is_refused(reward: Any) -> None:
    with pytest.raises(UserError, match=r"gym:Mine-v0 returned the reward .* must be one finite number\.$"):
        reward_of(reward, "gym:Mine-v0")
