"""Record the versions, hardware and command line of a run in `machine.json`, for whoever reads its scores later."""

import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamer.errors import UserError, writing
from dreamer.machine import cores, processor
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import MOST_TEXT, read_regular

if TYPE_CHECKING:
    import torch

FILE = "machine.json"
_logger = logging.getLogger(__name__)
PACKAGES = ("torch", "dm-control", "mujoco", "gymnasium", "numpy")


def record_machine(run: Path, device: "torch.device") -> None:
    """Add this machine and command line to the `machine.json` of a run, unless they are the last entry.

    Raises:
        UserError: The disk refuses.
    """
    file = run / FILE
    try:
        machines = read_machines(file) if file.exists() else []
    except UserError as error:
        kept = file.with_name(FILE + ".corrupt")
        _logger.warning("%s It is begun anew, and what was there is in %s.", error, kept.name)
        with writing(file):
            file.replace(kept)
        machines = []
    here = describe_machine(device)
    if machines[-1:] != [here]:
        with atomic_file(run / FILE) as file:
            file.write((json.dumps([*machines, here], indent=2) + "\n").encode())


def recorded_machines(run: Path) -> list[dict[str, Any]]:
    """Return the content of `machine.json`; an empty list if it is missing or damaged."""
    try:
        return read_machines(run / FILE)
    except UserError:
        return []


def read_machines(file: Path) -> list[dict[str, Any]]:
    """Return the content of a `machine.json`. Raises `UserError` if it is missing or damaged."""
    try:
        machines = json.loads(read_regular(file, MOST_TEXT))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error}).") from error
    if not isinstance(machines, list) or not all(isinstance(one, dict) for one in machines):
        raise UserError(f"{file} is no list of machines.")
    return machines


def describe_machine(device: "torch.device") -> dict[str, Any]:
    """Return versions, hardware and command line, without what cannot be found out.

    `opengl` is the backend that this process draws with; worker processes choose theirs by themselves.
    """
    import torch  # Takes seconds, and reading the file does not need it.

    found = {
        "host": platform.node(),
        "command": shlex.join(sys.argv),
        "opengl": os.environ.get("MUJOCO_GL"),
        "processor": processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "dreamer": _version("dream-to-control"),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }
    return {name: value for name, value in found.items() if value}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the source tree of this program, with a `+` if files were changed."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
