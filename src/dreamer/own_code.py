"""Code of the user: it may lie in the current folder, and never in the directory of a run.

A run that somebody has sent, or that was downloaded, can be looked at and evaluated, and is not to be trusted:
`config.json` names the module of its environment, and libraries try to import packages that are not installed.
"""

import json
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_INSTALLED = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
_INSTALLED.append(Path(__file__).parent)


def search_current_folder() -> None:
    """Let `gym:my_module:MyEnv-v0` find my_module.py in the current folder, unless that is in a run directory.

    The folder comes last, so that a random.py there does not hide the standard library's.
    """
    refuse_code_of_runs()
    sys.path[:] = [entry for entry in sys.path if not run_directory_of(Path(entry))]
    here = Path.cwd()
    if not run_directory_of(here):
        sys.path.append(str(here))


def refuse_code_of_runs() -> None:
    """From here on, no module is imported from a run directory, wherever Python looks for modules."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _Finder)  # pyright: ignore[reportArgumentType]


def run_directory_of(path: Path) -> Path | None:
    """Return the run directory in which a file or folder lies, or that it is; links are followed."""
    absolute = path.absolute()
    for place in (absolute, absolute.resolve()):
        for folder in (place, *place.parents):
            if _is_run_directory(folder):
                return folder.resolve()
    return None


def file_outside_packages(module: str) -> Path | None:
    """Return the file of an imported module, if it is neither in an installed package nor in this one."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and not _is_installed(Path(file)) else None


class _Finder:
    """Find what `PathFinder` finds, which comes after it, and refuse what lies in a run directory."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            for place in filter(None, [spec.origin, *(spec.submodule_search_locations or ())]):
                if not _is_installed(Path(place)) and (run := run_directory_of(Path(place))):
                    raise ModuleNotFoundError(
                        f"{place} lies in the run directory {run}, and code from there is never executed:"
                        " if you trust it, move it out",
                        name=name,
                    )
        return spec


def _is_run_directory(folder: Path) -> bool:
    """Whether the folder would be taken for a run; one that has saved nothing is known by its `config.json`."""
    config = folder / "config.json"
    if not config.is_file():
        return False
    return any((folder / name).exists() for name in ("checkpoint", "metrics.jsonl")) or _names_environment(
        config
    )


def _names_environment(config: Path) -> bool:
    """Whether this is the configuration of a run, and not that of another program."""
    try:
        with config.open("rb") as file:
            options = json.loads(file.read(2**26))  # more is no configuration of a run
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(options, dict) and ":" in str(options.get("env"))


def _is_installed(file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in _INSTALLED)
