"""What is carried to a machine without internet, and how `gpu.sh` finds it there."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os
import carried
print(carried.__file__, os.environ.get("LD_LIBRARY_PATH"))
"""


@pytest.fixture
def offline(monkeypatch):
    """`benchmarks/offline.py` as a module."""
    spec = importlib.util.spec_from_file_location("offline", ROOT / "benchmarks" / "offline.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "offline", module)
    spec.loader.exec_module(module)
    return module


def write_wheel(folder: Path, version: str = "1.0") -> Path:
    """Write the smallest wheel there is, with a module `carried` and a folder of something large."""
    wheel, info = folder / f"carried-{version}-py3-none-any.whl", f"carried-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("carried/__init__.py", f"version = {version!r}\n")
        file.writestr("carried/meshes/large.bin", b"0" * 10_000)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: carried\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "carried/__init__.py,,\ncarried/meshes/large.bin,,\n")
    return wheel


def test_folders_can_be_left_out_of_a_wheel(offline, tmp_path):
    wheel = write_wheel(tmp_path)
    offline.leave_out(wheel, ("carried/meshes/",))
    with zipfile.ZipFile(wheel) as file:
        assert "carried/meshes/large.bin" not in file.namelist()
        record = file.read("carried-1.0.dist-info/RECORD").decode().splitlines()
    assert record[0].startswith("carried/__init__.py,sha256=")
    assert record[-1] == "carried-1.0.dist-info/RECORD,,"
    assert [path.name for path in tmp_path.iterdir()] == [wheel.name]


def test_versions_are_those_of_the_project(offline):
    found = dict(zip(offline.DIRECT, offline.requirements(offline.DIRECT), strict=True))
    assert found["dm-control"].startswith("dm-control==")
    assert all(line.startswith(name) for name, line in found.items())


@pytest.fixture
def machine(gpu, tmp_path):
    """Call the script in a copy of the project whose `dreamer` needs `carried` alone; returns errors and log."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "gpu.sh", tmp_path / "benchmarks")
    (tmp_path / "src" / "dreamer").mkdir(parents=True)
    (tmp_path / "src" / "dreamer" / "__init__.py").touch()
    (tmp_path / "src" / "dreamer" / "__main__.py").write_text(PROGRAM)
    for package in ("torch", "tyro"):  # the script imports them first, which would take seconds
        (tmp_path / "src" / f"{package}.py").touch()

    def call():
        done = gpu(tmp_path, STEPS="doctor", LD_LIBRARY_PATH="/of/the/machine")
        return done.stderr, (tmp_path / "out" / "doctor.log").read_text()

    return call


def test_wheels_are_unpacked_once(machine, tmp_path):
    write_wheel(tmp_path / ".whl")
    site = tmp_path / "build" / "offline" / "site"
    assert machine()[1].startswith(str(site / "carried" / "__init__.py"))
    (site / "carried" / "mark").touch()
    machine()
    assert (site / "carried" / "mark").exists()
    shutil.rmtree(tmp_path / ".whl")
    write_wheel(tmp_path / ".whl", "2.0")
    os.utime(tmp_path / "build" / "offline" / "site.done", (0, 0))
    machine()
    assert "2.0" in (site / "carried" / "__init__.py").read_text()


def test_wheels_for_another_python(machine, tmp_path):
    wheel = write_wheel(tmp_path / ".whl")
    wheel.rename(wheel.with_name("carried-1.0-cp27-cp27m-win32.whl"))
    errors, log = machine()
    assert "do not fit" in errors
    assert "No module named 'carried'" in log


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="Debian's tools are not there")
def test_libraries_are_unpacked(machine, tmp_path):
    write_wheel(tmp_path / ".whl")
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    about = "Package: carried\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: nothing\n"
    (package / "DEBIAN" / "control").write_text(about)
    (package / "usr").mkdir()
    (package / "usr" / "library").touch()
    (tmp_path / ".gl").mkdir()
    built = ["dpkg-deb", "--build", str(package), str(tmp_path / ".gl" / "carried.deb")]
    subprocess.run(built, check=True, capture_output=True)
    _, log = machine()
    assert (tmp_path / "build" / "offline" / "gl" / "usr" / "library").exists()
    assert "/of/the/machine" in log


def test_without_either_nothing_is_unpacked(machine, tmp_path):
    assert "No module named 'carried'" in machine()[1]
    assert not (tmp_path / "build").exists()
