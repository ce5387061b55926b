"""What every test shares: one thread, a fixed seed, deterministic kernels."""

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import install_import_hook, jaxtyped

from sweep.two_nodes import TwoNodes

# The shapes in the signatures of the mathematics are checked at every call. A module is changed when it is imported,
# so this comes before the first import of the package.
install_import_hook(["dreamer.world_model", "dreamer.behavior"], "beartype.beartype")


def pytest_configure() -> None:
    # The suite must not depend on the machine's cores in its last bits; and where tests run side by side, threads
    # that wait for each other take many times as long as one.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests start
    torch.use_deterministic_algorithms(True)
    # Without it, cuBLAS refuses to work among deterministic kernels; it is read when CUDA begins.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Filling fresh memory with NaN finds bugs of PyTorch, not ours, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    # Commands that the tests start inherit what is ignored here, such as SIGHUP below `nohup` and SIGINT behind `&`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _check_states()


def _check_states() -> None:
    """Check the shapes of every `State`: the import hook leaves named tuples alone."""
    from dreamer.world_model.rssm import State

    State.__new__ = jaxtyped(State.__new__, typechecker=beartype)


@pytest.fixture(autouse=True)
def _kernels(request: pytest.FixtureRequest) -> None:
    """Tests of a GPU get the kernels that a run gets: some have no deterministic form."""
    torch.use_deterministic_algorithms(request.node.get_closest_marker("gpu") is None)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries of others still draw from it)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = TwoNodes()
    yield nodes
    nodes.cluster.shutdown()
