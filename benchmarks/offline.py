"""Download what a GPU machine without internet lacks, on a machine with internet, into .whl and .gl.

    python benchmarks/offline.py        here; then copy both folders along with the code
    benchmarks/gpu.sh OUT               on the GPU machine: unpacks them first

For Linux on x86-64. What a machine for PyTorch usually has is left out: PyTorch, NumPy, SciPy, Matplotlib,
TensorBoard, Pillow, imageio, pytest; `--also scipy` adds a package. The meshes of animals in dm_control's
wheel, which the Control Suite never loads, are left out, too: 56 MB become 6.
"""

import base64
import csv
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
DIRECT = ("dm-control", "mujoco", "gymnasium", "tyro", "annotated-types", "jaxtyping", "rich")
"""Packages in the versions that pyproject.toml asks for."""
THEIRS = (
    *("dm-env", "dm-tree", "labmaze", "glfw", "pyopengl", "etils"),  # of dm_control and MuJoCo
    *("farama-notifications", "docstring-parser", "typeguard", "wrapt"),  # of Gymnasium and tyro
    *("wadler-lindig", "beartype"),  # of jaxtyping and the tests
)
LIBRARIES = ("libegl1", "libglvnd0", "libopengl0", "libgl1", "libglx0", "libgles2")
"""Debian packages that find the driver's OpenGL; the driver itself belongs to the machine."""
UNUSED = ("dm_control/locomotion/", "dm_control/suite/dog_assets/", "dm_control/blender/")
GLIBC = range(5, 40)
"""Releases 2.N of glibc for which wheels are accepted."""


@dataclass(frozen=True)
class Options:
    """Collect wheels and graphics libraries for a machine without internet."""

    python: str = "3.12"
    """Version of CPython on the GPU machine."""
    also: tuple[str, ...] = ()
    """Further packages from PyPI."""
    wheels: Path = ROOT / ".whl"
    """Folder for Python packages."""
    libraries: Path = ROOT / ".gl"
    """Folder for Debian packages."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options.wheels.mkdir(exist_ok=True)
    download_wheels(options)
    for wheel in options.wheels.glob("dm_control-*.whl"):
        leave_out(wheel, UNUSED)
    options.libraries.mkdir(exist_ok=True)
    download_libraries(options.libraries)
    for folder in (options.wheels, options.libraries):
        files = sorted(folder.iterdir())
        print(f"{folder}: {len(files)} files, {sum(file.stat().st_size for file in files) / 2**20:.1f} MiB")


def download_wheels(options: Options) -> None:
    """Fetch the wheels, each by name: what they need in turn is among them, or there already."""
    platforms = [f"manylinux_2_{number}_x86_64" for number in GLIBC] + ["manylinux2014_x86_64"]
    line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    line += ["--implementation", "cp", "--python-version", options.python, "--dest", str(options.wheels)]
    line += [word for platform in platforms for word in ("--platform", platform)]
    subprocess.run([*line, *requirements(DIRECT), *THEIRS, *options.also], check=True)


def requirements(names: tuple[str, ...]) -> list[str]:
    """What pyproject.toml asks for of these packages."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    by_name = {re.split(r"[<>=!~\[ ]", line, maxsplit=1)[0]: line for line in asked}
    return [by_name[name] for name in names]


def leave_out(wheel: Path, folders: tuple[str, ...]) -> None:
    """Write a wheel anew without some of its folders, and with the list of its files put right."""
    part = wheel.with_suffix(".part")
    rows: list[tuple[str, str, int | str]] = []
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
        record = next(name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        for name in old.namelist():
            if name == record or name.endswith("/") or name.startswith(folders):
                continue
            content = old.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append((name, f"sha256={digest}", len(content)))
            new.writestr(name, content)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
        new.writestr(record, text.getvalue())
    part.replace(wheel)


def download_libraries(folder: Path) -> None:
    """Fetch Debian packages, with package lists of their own: this machine may be of another kind."""
    if not shutil.which("apt-get"):
        print(f"Without apt-get the libraries are not fetched: {', '.join(LIBRARIES)}.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as lists:
        (Path(lists) / "partial").mkdir()
        settings = ["APT::Architecture=amd64", "APT::Architectures=amd64", f"Dir::State::Lists={lists}"]
        apt = ["apt-get", "-qq", *(f"-o{setting}" for setting in settings)]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "download", *LIBRARIES], check=True, cwd=folder)


if __name__ == "__main__":
    main()
