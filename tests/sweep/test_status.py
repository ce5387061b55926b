"""How far a run is."""

import json
from pathlib import Path

from dreamer.sweep.status import TAIL, Status


def write(logdir: Path, *lines: dict, end: str = "\n") -> None:
    logdir.mkdir(exist_ok=True)
    (logdir / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + end)


def test_status_is_that_of_the_last_lines(tmp_path: Path) -> None:
    status = Status(tmp_path / "run", 1000)
    status.read()
    assert (status.env_step, status.last_return, status.seconds_left) == (0, None, None)
    write(
        tmp_path / "run", {"env_step": 100, "train/return": 7.0}, {"env_step": 200, "time/env_steps_per_s": 4}
    )
    status.read()
    assert (status.env_step, status.last_return, status.speed) == (200, 7.0, 4)
    assert status.seconds_left == 200
    evaluation = {"env_step": 300, "eval/return": 9.0}
    write(tmp_path / "run", evaluation, {"env_step": 400, "train/return": 3.0, "time/env_steps_per_s": None})
    status.read()
    assert (status.env_step, status.last_return, status.speed) == (400, 9.0, 4)
    assert not status.complete


def test_complete_run_has_the_evaluation_at_its_end(tmp_path: Path) -> None:
    status = Status(tmp_path, 1000)
    write(tmp_path, {"env_step": 990, "eval/return": 9.0}, {"env_step": 1000, "train/return": 3.0})
    status.read()
    assert not status.complete
    write(tmp_path, {"env_step": 1000, "train/return": 3.0}, {"env_step": 1000, "eval/return": 9.0})
    status.read()
    assert status.complete


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {"env_step": 100, "eval/return": 9.0}, end='\n[1]\nnull\n{damaged\n{"env_step": 20')
    status = Status(tmp_path, 1000)
    status.read()
    assert (status.env_step, status.last_return) == (100, 9.0)


def test_only_the_end_of_a_long_record_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"env_step": 1, "eval/return": 1.0}, {"filling": "x" * TAIL}, {"env_step": 2})
    status = Status(tmp_path, 1000)
    status.read()
    assert (status.env_step, status.last_return) == (2, None)


def test_kills_are_counted_until_the_run_gets_further(tmp_path: Path) -> None:
    status = Status(tmp_path, 1000)
    assert [status.count_kill() for _ in range(2)] == [1, 2]
    write(tmp_path, {"env_step": 100})
    assert [status.count_kill() for _ in range(2)] == [1, 2]
    write(tmp_path, {"env_step": 60, "filling": None})  # it began again at its checkpoint
    assert status.count_kill() == 3
    write(tmp_path, {"env_step": 101, "filling": None})
    assert status.count_kill() == 1
