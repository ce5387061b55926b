"""The parts import one way only (docs/architecture.md): an arrow that runs back fails here."""

import ast
from pathlib import Path

import pytest

import dreamer

ROOT = Path(dreamer.__file__).parent

_BASE = {"types", "errors", "config", "env_args"}
_DREAMER = _BASE | {"world_model", "behavior", "agents"}
_RUN = _DREAMER | {"fast", "make", "envs", "storage", "replay", "logs"}

# What each part may import besides itself, from the bottom up. `agents/make.py` is a part of its own: the other
# modules of `agents` know nothing of `fast`. Training and results are siblings: neither knows the other.
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "affects": set(),
    "machine": set(),
    "own_code": set(),
    "parent": set(),
    "options": {"affects"},
    "env_args": {"errors"},
    "config": {"errors", "affects", "options", "env_args"},
    "presets": _BASE,
    "ray_cluster": _BASE | {"machine"},
    "envs": _BASE | {"own_code", "parent"},
    "arguments": set(),
    "world_model": _BASE,
    "behavior": _BASE | {"world_model"},
    "agents": _BASE | {"world_model", "behavior"},
    "fast": _DREAMER,
    "baselines": _DREAMER | {"options"},
    "make": _DREAMER | {"fast", "baselines"},
    "distributed": _DREAMER | {"make"},
    "storage": _DREAMER | {"make", "envs", "machine"},
    "replay": _BASE | {"storage"},
    "logs": _DREAMER | {"replay", "storage", "machine"},
    "results": _BASE | {"storage"},
    "training": _RUN | {"baselines", "options", "parent", "machine", "own_code", "ray_cluster"},
    "export": _DREAMER | {"make", "envs", "storage"},
    "api": _RUN | {"training", "presets", "export", "results", "ray_cluster"},
    "__init__": {"api", "errors", "export"},
    "bench": _RUN | {"training", "results", "machine"},
    "view": _DREAMER | {"envs", "storage", "replay", "logs", "export"},
    "report": _BASE | {"results", "storage"},
    "verify": _BASE | {"export", "logs", "replay", "results", "storage"},
    "sweep": _BASE
    | {"parent", "machine", "arguments", "presets", "envs", "storage", "logs", "training", "results"}
    | {"ray_cluster"},
    "cli": _RUN
    | {
        "__init__",
        "api",
        "own_code",
        "arguments",
        "training",
        "presets",
        "ray_cluster",
        "distributed",
        "export",
        "results",
        "bench",
        "sweep",
        "report",
        "view",
        "verify",
    },
    "__main__": {"cli"},
}


APART = {
    "dreamer.agents.make": "make",
    "dreamer.baselines.options": "options",
    "dreamer.baselines.presets": "presets",
}
"""Modules that are a part of their own, or belong to another than their folder."""


def part_of(module: str) -> str | None:
    """`dreamer.envs.spec` -> `envs`; None for modules that are not ours."""
    names = module.split(".")
    for name, part in APART.items():
        if module == name or module.startswith(name + "."):
            return part
    return (names[1] if len(names) > 1 else "__init__") if names[0] == "dreamer" else None


def imported_modules(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    package = ["dreamer", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            # `from dreamer import envs` names the part after the import, `from dreamer.agents import make` too.
            found.update(f"{source}.{alias.name}" for alias in node.names)
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(".".join(["dreamer", *path.relative_to(ROOT).with_suffix("").parts]))
    assert part
    targets = {part_of(module) for module in imported_modules(path)} - {None, part}
    assert targets <= MAY_IMPORT[part], f"{part} may not import {sorted(targets - MAY_IMPORT[part], key=str)}"


@pytest.mark.parametrize("part", ["envs", "replay"])
def test_data_parts_know_no_networks(part: str) -> None:
    files = sorted((ROOT / part).rglob("*.py"))
    assert files
    for path in files:
        assert not any(module.startswith("torch.nn") for module in imported_modules(path)), path


def test_arrows_hold_no_cycle() -> None:
    order = list(MAY_IMPORT)
    for part, targets in MAY_IMPORT.items():
        assert all(order.index(target) < order.index(part) for target in targets), part
