"""Dreamer: learning behaviors by latent imagination (Hafner et al., ICLR 2020)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.agents.policy import load_policy

__all__ = ["load_policy"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `load_policy` when it is asked for, so that environment workers do not load torch."""
    if name == "load_policy":
        from dreamer.agents.policy import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
