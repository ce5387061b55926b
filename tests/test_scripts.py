"""`make` finds a Python that fits, or says in a sentence what to install."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "find-python.sh"


def test_another_mujoco_is_installed_on_request() -> None:
    makefile = ["make", "-n", "-C", str(SCRIPT.parents[1]), "train", "VENV=.venv"]
    usual, other = (
        subprocess.run([*makefile, *words], capture_output=True, text=True, check=True).stdout
        for words in ([], ["MUJOCO=3.17.0"])
    )
    assert "mujoco" not in usual
    assert ".venv/bin/pip install -qq -U mujoco==3.17.0 dm-control\n" in other


def program(path: Path, content: str) -> None:
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def fake_python(path: Path, version: str) -> None:
    """A program that answers as a Python of this version would."""
    fits = 0 if version in ("3.11.9", "3.12.4") else 1
    program(path, f'if [ "$1" = --version ]; then echo Python {version}; else exit {fits}; fi')


def search(folder: Path) -> subprocess.CompletedProcess[str]:
    """Search a machine that has no other programs than those in a folder."""
    for tool in ("bash", "env", "cp"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    line = [str(folder / "bash"), str(SCRIPT), "python3"]
    environment = {"PATH": str(folder)}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("there", "found", "said"),
    [
        ({"python3": "3.12.4"}, "python3\n", ""),
        (
            {"python3": "3.13.0", "python3.11": "3.11.9"},
            "python3.11\n",
            "python3 is Python 3.13.0: taking python3.11.\n",
        ),
        (
            {"python3": "3.14.1", "python3.12": "3.12.4", "python3.11": "3.11.9"},
            "python3.12\n",
            "taking python3.12",
        ),
        ({"python3.12": "3.12.4"}, "python3.12\n", "python3 is not there: taking python3.12.\n"),
        (
            {},
            "",
            "Please install what Debian calls: python3\npython3 is not there, and this needs 3.11 or 3.12",
        ),
        ({"python3": "3.13.0"}, "", "Please install Python 3.12"),
        ({"python3": "3.9.2", "python3.12": "3.13.0"}, "", "Please install Python 3.12"),
    ],
)
def test_a_python_that_fits_is_found(there: dict[str, str], found: str, said: str, tmp_path: Path) -> None:
    for name, version in there.items():
        fake_python(tmp_path / name, version)
    done = search(tmp_path)
    assert done.stdout == found
    assert said in done.stderr
    assert done.returncode == (0 if found else 1)


def test_a_missing_python_is_installed_where_debian_has_one_that_fits(tmp_path: Path) -> None:
    fake_python(tmp_path / "debian", "3.12.4")
    program(tmp_path / "id", "echo 0")
    program(tmp_path / "apt-get", f"cp {tmp_path}/debian {tmp_path}/python3")
    done = search(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "python3\n", "Installing python3 ...\n")
