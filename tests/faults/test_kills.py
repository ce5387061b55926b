"""A run that is killed, whenever and however often, ends in the same bits as one that is left alone."""

import random
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dreamer.storage.run_directory import RunDirectory
from faults.runs import KILLED, REFUSED, SHORT, Runs, everything, file_operations
from training.runs import same, tree

COLLECTIONS: dict[str, dict[str, Any]] = {
    "here": {},
    "workers": {"num_envs": 2},
    "asynchronous, workers": {"num_envs": 2, "async_collect": True},
}


class Whole(NamedTuple):
    """A run that nothing disturbed."""

    state: dict[str, Any]
    seconds: float
    file_operations: int


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that gives the undisturbed run of a collection."""
    made: dict[str, Whole] = {}

    def run(collection: str) -> Whole:
        if collection not in made:
            logdir = tmp_path_factory.mktemp("whole") / "run"
            begun = time.monotonic()
            assert runs.train(logdir, **SHORT, **COLLECTIONS[collection]) == 0
            seconds = time.monotonic() - begun
            made[collection] = Whole(everything(logdir), seconds, file_operations(runs.log(logdir)))
        return made[collection]

    return run


@pytest.mark.parametrize("part", [0.1, 0.35, 0.6, 0.85])
def test_kill_at_a_file_operation(part: float, tmp_path: Path, runs: Runs, whole) -> None:
    undisturbed = whole("here")
    _kill_and_go_on(int(part * undisturbed.file_operations), tmp_path, runs, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_kill_at_every_file_operation(tmp_path: Path, runs: Runs, whole) -> None:
    undisturbed = whole("here")
    assert undisturbed.file_operations > 50
    for number in range(undisturbed.file_operations):
        _kill_and_go_on(number, tmp_path / str(number), runs, undisturbed)


def _kill_and_go_on(number: int, directory: Path, runs: Runs, undisturbed: Whole) -> None:
    directory.mkdir(exist_ok=True)
    assert runs.train(directory / "run", kill_at=number, **SHORT) == KILLED
    assert runs.train(directory / "run", **SHORT) == 0
    assert same(everything(directory / "run"), undisturbed.state), f"killed at file operation {number}"
    assert not list((directory / "run").rglob("*.tmp"))
    assert "Traceback" not in runs.log(directory / "run").read_text()
    shutil.rmtree(directory)


@pytest.mark.parametrize("collection", ["asynchronous, workers"])
def test_kill_at_any_time(collection: str, tmp_path: Path, runs: Runs, whole) -> None:
    _kill_often(1, collection, tmp_path / "run", runs, whole(collection))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("collection", ["workers", "asynchronous, workers"])
def test_ten_kills_at_any_time(collection: str, tmp_path: Path, runs: Runs, whole) -> None:
    _kill_often(10, collection, tmp_path / "run", runs, whole(collection))


def _kill_often(kills: int, collection: str, logdir: Path, runs: Runs, undisturbed: Whole) -> None:
    """Kill one run again and again, at random times; begin another if it has reached its end, and compare each."""
    rng = random.Random(0)
    while kills:
        status = runs.train(
            logdir, kill_after=rng.uniform(0, undisturbed.seconds), **SHORT, **COLLECTIONS[collection]
        )
        assert status in (KILLED, 0), runs.log(logdir).read_text()
        kills -= status == KILLED
        if status == 0 or not kills:
            assert runs.train(logdir, **SHORT, **COLLECTIONS[collection]) == 0
            assert same(everything(logdir), undisturbed.state)
            shutil.rmtree(logdir)
    assert "Traceback" not in runs.log(logdir).read_text()


def test_second_process_is_refused_and_changes_nothing(tmp_path: Path, runs: Runs) -> None:
    assert runs.train(tmp_path / "run", **SHORT) == 0
    first = RunDirectory(tmp_path / "run")
    first.lock()
    before = tree(tmp_path / "run")
    assert runs.train(tmp_path / "run", **{**SHORT, "steps": 400}) == REFUSED
    assert tree(tmp_path / "run") == before
    first.unlock()
    log = runs.log(tmp_path / "run").read_text().splitlines()
    assert log[-1] == f"dreamer: Another process is training in {tmp_path / 'run'}: wait for it, or stop it."
