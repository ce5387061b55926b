"""The parts import one way only (docs/architecture.md): an arrow that runs back fails here."""

import ast
from pathlib import Path

import pytest

import dreamer

ROOT = Path(dreamer.__file__).parent

_BASE = {"config", "errors", "spec"}
_MODEL = _BASE | {"envs", "world_model"}
_AGENT = _MODEL | {"behavior", "agents", "replay"}

# What each part may import besides itself. Training and results are siblings: neither knows the other.
MAY_IMPORT = {
    "spec": set(),
    "errors": set(),
    "config": {"errors"},
    "presets": _BASE,
    "envs": _BASE,
    "replay": _BASE | {"envs"},
    "storage": {"errors", "replay"},
    "world_model": _BASE | {"envs"},
    "behavior": _MODEL,
    "agents": _MODEL | {"behavior"},
    "training": _AGENT | {"storage"},
    "api": _AGENT | {"presets", "training"},
    "__init__": {"agents", "api"},
    "results": _AGENT,
    "report": {"config", "errors", "replay", "results", "storage"},
    "bench": _AGENT | {"training", "results", "storage"},
    "cli": _AGENT | {"presets", "training", "results", "report", "bench"},
    "__main__": {"cli"},
}


def part_of(module: str) -> str | None:
    """`dreamer.envs.spec` -> `envs`; None for modules that are not ours."""
    names = module.split(".")
    return names[1] if names[0] == "dreamer" and len(names) > 1 else None


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
            # `from dreamer import envs` names the part after the import.
            found.update(f"{source}.{alias.name}" if source == "dreamer" else source for alias in node.names)
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    targets = {part_of(module) for module in imported_modules(path)} - {None, part}
    assert targets <= MAY_IMPORT[part], f"{part} may not import {sorted(targets - MAY_IMPORT[part])}"


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
