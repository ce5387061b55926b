"""What every test shares: few threads, a fixed seed, deterministic kernels."""

import numpy as np
import pytest
import torch


def pytest_configure() -> None:
    # The suite must not depend on how many cores the machine has, neither in time nor in its last bits.
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=False)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries of others still draw from it)
