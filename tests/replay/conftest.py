"""Episodes that say in every element where it came from."""

from collections.abc import Callable

import numpy as np
import pytest

from dreamer.replay import Episode


@pytest.fixture
def counting_episode() -> Callable[[int, int], Episode]:
    """`counting_episode(number, length)`: element t has reward `1000 number + t`, and the like."""

    def make(number: int, length: int) -> Episode:
        t = np.arange(length)
        return {
            "image": np.broadcast_to((number * 7 + t)[:, None, None, None] % 256, (length, 3, 5, 3)).astype(
                np.uint8
            ),
            "action": np.stack([np.full(length, number), t], 1).astype(np.float32),
            "reward": (1000 * number + t).astype(np.float32),
            "discount": np.ones(length, np.float32),
        }

    return make
