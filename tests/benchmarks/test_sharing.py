import json
import queue
import threading

import pytest

from benchmarks.running import run


@pytest.fixture
def sharing(script):
    return script("sharing")


def options(sharing, tmp_path, **changes):
    tiny = {"preset": "debug", "seconds": 0.1, "device": "cpu", "precision": "float32", "path": "eager"}
    return sharing.Options(
        tmp_path, **{**tiny, "batch_size": 1, "batch_length": 2, "timeout": 5.0, **changes}
    )


def test_one_process_counts_its_updates(sharing, tmp_path):
    outcomes = queue.Queue()
    sharing.work(options(sharing, tmp_path), 1, threading.Barrier(1), outcomes)
    outcome = outcomes.get_nowait()
    assert not outcome.error
    assert outcome.updates >= 1
    assert outcome.seconds >= 0.1
    assert outcome.process_bytes > 2**20


def test_a_process_that_fails_keeps_none_waiting(sharing, tmp_path):
    outcomes, barrier = queue.Queue(), threading.Barrier(2)
    patient = options(sharing, tmp_path, timeout=100.0)
    waiting = threading.Thread(target=sharing.work, args=(patient, 1, barrier, outcomes), daemon=True)
    waiting.start()
    sharing.work(options(sharing, tmp_path, path="flight"), 1, barrier, outcomes)
    waiting.join(50)
    assert not waiting.is_alive()
    errors = sorted(outcomes.get(timeout=1).error for _ in range(2))
    assert errors[0].startswith("BrokenBarrierError")
    assert "There is no path 'flight'" in errors[1]


def test_the_table_shows_gains_and_errors(sharing):
    row = {"processes": 1, "threads_each": 2, "updates_per_s": 2.0, "slowest": 2.0, "fastest": 2.0}
    row |= {"process_bytes": 2**20, "gpu_bytes": 0, "errors": []}
    two = row | {"processes": 2, "updates_per_s": 3.0, "slowest": 1.0, "gpu_bytes": 2**21}
    bad = row | {"processes": 4, "errors": ["out of memory"]}
    assert sharing.table([row, two, bad]).splitlines()[2:] == [
        "| 1 | 2 | 2 | 1.00 | 2 - 2 | 1 MiB | - |",
        "| 2 | 2 | 3 | 1.50 | 1 - 2 | 1 MiB | 2 MiB |",
        "| 4 | 2 | out of memory |  |  |  |  |",
    ]


@pytest.mark.slow
def test_the_whole_script(tmp_path):
    sizes = ["--preset", "debug", "--batch-size", 1, "--batch-length", 2, "--seconds", 0.2, "--threads", 1]
    done = run("sharing.py", "--out", tmp_path, "--processes", 1, 2, *sizes)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "sharing.json").read_text())["rows"]
    assert [row["processes"] for row in rows] == [1, 2]
    assert all(row["updates_per_s"] > 0 for row in rows)
    assert (tmp_path / "sharing.md").read_text().startswith("| processes |")
