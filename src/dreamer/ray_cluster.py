"""Ray, which distributes the runs of a sweep, or the actors of one run, over the nodes of a cluster. It is an extra."""

import itertools
import os
import socket
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.machine import cores

LOCAL = "local"
"""Address that means Ray on this machine alone."""


def with_address(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with `--ray local` in place of `--ray` alone."""
    found = []
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue="--"):
        found += [word, LOCAL] if word == "--ray" and following.startswith("-") else [word]
    return found


def with_actors(config: Config) -> Config:
    """Return the options of a run whose actors are on a cluster: they act while the learner learns.

    Raises `UserError` for all agents but D4PG.
    """
    if config.behavior.agent != "d4pg":
        raise UserError(
            f"--ray is for --agent d4pg, whose actors then run on a cluster, and not for --agent"
            f" {config.behavior.agent}: leave it out, or run many tasks and seeds with `dreamer sweep --ray`."
        )
    return with_options(config, {"async_collect": True})


def load_ray() -> Any:
    """Import Ray. Raises `UserError` if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # No usage statistics are sent.
    try:
        return import_module("ray")
    except ImportError as error:
        raise UserError(
            "--ray needs Ray: pip install 'dream-to-control[ray]', or leave --ray out to use this machine alone."
        ) from error


def join(address: str, at_least: int = 0) -> Any:
    """Join the cluster at `address`, or start one here with `at_least` so many cores; return the `ray` package.

    A process that has joined a cluster before stays there. Raises `UserError` if Ray is not installed, or if nothing
    answers at the address.
    """
    ray = load_ray()
    if ray.is_initialized():
        return ray
    _check_reachable(address)
    settings: dict[str, Any] = {}
    if address == LOCAL:
        settings = {"include_dashboard": False, "num_cpus": max(cores(), at_least)}
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _nobody(address, error) from error
    return ray


def _check_reachable(address: str) -> None:
    """Raise `UserError` if nothing listens at HOST:PORT, which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _nobody(address, error) from error


def _nobody(address: str, error: Exception) -> UserError:
    words = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"No Ray cluster answers at {address} ({words[0]}): give the address of its head.")
