"""What is carried to a machine without internet, and how the script there finds it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TELL = """
import os, sys
import carried
print(carried.__file__, sys.argv[1:], os.environ.get("LD_LIBRARY_PATH"))
"""


@pytest.fixture
def offline(script):
    return script("offline")


def write_wheel(folder: Path, version: str = "1.0") -> Path:
    """The smallest wheel there is, with a module `carried` and a folder of something large."""
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
def machine(tmp_path):
    """A copy of the project of which the shell script thinks that all is there but `carried`."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "gpu.sh", tmp_path / "benchmarks")
    (tmp_path / "benchmarks" / "gpu.py").write_text(TELL)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"PYTHON": sys.executable, "PYTHONPATH": "", "LD_LIBRARY_PATH": "/of/the/machine"}
        line = [str(tmp_path / "benchmarks" / "gpu.sh"), *arguments]
        return subprocess.run(
            line, check=False, env=os.environ | settings, capture_output=True, text=True, timeout=100
        )

    return call


def test_wheels_are_unpacked_once(machine, tmp_path):
    write_wheel(tmp_path / ".whl")
    first = machine("--out", "here")
    site = tmp_path / "build" / "offline" / "site"
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{site / 'carried' / '__init__.py'} ['--out', 'here']")
    (site / "carried" / "mark").touch()
    assert machine().returncode == 0
    assert (site / "carried" / "mark").exists()
    shutil.rmtree(tmp_path / ".whl")
    write_wheel(tmp_path / ".whl", "2.0")
    os.utime(tmp_path / "build" / "offline" / "site.done", (0, 0))
    assert machine().returncode == 0
    assert "2.0" in (site / "carried" / "__init__.py").read_text()


def test_wheels_for_another_python_are_said_to_be_that(machine, tmp_path):
    wheel = write_wheel(tmp_path / ".whl")
    wheel.rename(wheel.with_name("carried-1.0-cp27-cp27m-win32.whl"))
    done = machine()
    assert done.returncode == 1
    assert "do not fit" in done.stderr
    assert "No module named 'carried'" in done.stderr


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
    done = machine()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "offline" / "gl" / "usr" / "library").exists()
    assert "/of/the/machine" in done.stdout


def test_without_either_nothing_is_unpacked(machine, tmp_path):
    assert machine().returncode == 1
    assert not (tmp_path / "build").exists()
