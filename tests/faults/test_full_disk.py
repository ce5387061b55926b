"""A disk that is full again and again: one sentence each time, nothing lost, and with more room the run goes on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamer.storage import checkpoint
from faults.runs import REFUSED, SHORT, Runs
from training.runs import metrics

MIB = 2**20


class Disk:
    """A file system in memory, of as many bytes as wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, size: int) -> bool:
        options = f"{'remount,' if self.path.is_mount() else ''}size={size}"
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        try:
            return subprocess.run(line, check=False, capture_output=True).returncode == 0
        except OSError:
            return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    if not disk.resize(MIB):
        pytest.skip("no file system may be mounted here")
    yield disk
    subprocess.run(["umount", str(disk.path)], check=True)


def test_run_with_a_little_more_room_each_time_gets_further_each_time(
    disk: Disk, tmp_path: Path, runs: Runs
) -> None:
    logdir, size, reached = disk.path / "run", MIB, []
    films = {**SHORT, "steps": 800, "eval_every": 100, "video_every": 100}
    while (status := runs.train(logdir, **films)) == REFUSED:
        saved = checkpoint.load(logdir / "checkpoint") if (logdir / "checkpoint").exists() else None
        reached.append(saved["env_step"] if saved else 0)
        size += 2 * MIB
        assert disk.resize(size)
    log = runs.log(logdir).read_text()
    assert status == 0, log
    assert len(reached) > 1
    assert reached == sorted(set(reached))
    assert "Traceback" not in log
    assert log.count("dreamer: Cannot write") == len(reached)
    frames = [line["env_step"] for line in metrics(logdir) if "train/return" in line]
    assert frames == list(range(50, 801, 50))
