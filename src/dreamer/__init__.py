"""Dreamer: learning behaviors by latent imagination (Hafner et al., ICLR 2020)."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.api import dream, evaluate, export_policy, read_metrics, train
    from dreamer.errors import UserError
    from dreamer.export.policy import load_policy

__all__ = ["UserError", "dream", "evaluate", "export_policy", "load_policy", "read_metrics", "train"]
__version__ = "0.2.0.dev0"

# Read by OpenMP when PyTorch is loaded: threads that wait for each other leave their cores to others. By default they
# spin, which is many times slower than a single thread where the cores are busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_HOME = dict.fromkeys(__all__, "dreamer.api") | {
    "UserError": "dreamer.errors",
    "load_policy": "dreamer.export.policy",
}


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for: environment workers load no torch."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
