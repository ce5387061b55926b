"""What every test shares: one thread, a fixed seed, deterministic kernels."""

import numpy as np
import pytest
import torch


def pytest_configure() -> None:
    # The suite must not depend on the machine's cores in its last bits; and on a busy machine, threads that
    # wait for each other take many times as long as one.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN finds bugs of PyTorch, not ours, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries of others still draw from it)
