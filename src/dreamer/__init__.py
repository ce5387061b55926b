"""Dreamer: learning behaviors by latent imagination (Hafner et al., ICLR 2020)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.api import dream, evaluate, export_policy, read_metrics, train
    from dreamer.export.policy import load_policy

__all__ = ["dream", "evaluate", "export_policy", "load_policy", "read_metrics", "train"]
__version__ = "0.2.0.dev0"

_HOME = dict.fromkeys(__all__, "dreamer.api") | {"load_policy": "dreamer.export.policy"}


def __getattr__(name: str) -> Any:
    """Import a function when it is asked for: environment workers load no torch."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
