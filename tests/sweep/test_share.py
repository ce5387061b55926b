"""Cores and GPUs of each run."""

import pytest

from dreamer.errors import UserError
from dreamer.sweep.share import Machine, Share, share


@pytest.mark.parametrize(
    ("machines", "numbers", "expected"),
    [
        ([Machine(8, 0)], {}, Share(8, 1, 0)),
        ([Machine(8, 0)], {"threads": 3}, Share(2, 3, 0)),
        ([Machine(8, 0)], {"cpus": 4}, Share(2, 4, 0)),
        ([Machine(8, 0)], {"jobs": 2}, Share(2, 4, 0)),
        ([Machine(1, 0)], {"jobs": 3}, Share(3, 1, 0)),
        ([Machine(16, 1)], {}, Share(1, 16, 1)),
        ([Machine(16, 1)], {"gpus": 0.25}, Share(4, 4, 0.25)),
        ([Machine(16, 2)], {"gpus": 0.4}, Share(4, 4, 0.4)),  # no run has a part of two GPUs
        ([Machine(2, 1)], {"gpus": 0.25}, Share(2, 1, 0.25)),
        ([Machine(16, 1)], {"gpus": 0.0}, Share(16, 1, 0)),
        ([Machine(4, 0), Machine(32, 4), Machine(16, 1)], {}, Share(5, 8, 1)),
        ([Machine(4, 0), Machine(3, 0)], {"cpus": 2}, Share(3, 2, 0)),
    ],
)
def test_share_follows_from_the_machines(machines: list[Machine], numbers: dict, expected: Share) -> None:
    assert share(machines, **numbers) == expected


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"jobs": -1}, "--jobs must be at least 0"),
        ({"cpus": -2}, "--cpus-per-run must be at least 0"),
        ({"gpus": 2.0}, "--gpus-per-run must lie between 0 and 1, got 2"),
        ({"gpus": -0.5}, "--gpus-per-run must lie between 0 and 1"),
        ({"gpus": float("nan")}, "--gpus-per-run must lie between 0 and 1"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        share([Machine(8, 1)], **numbers)


@pytest.mark.parametrize("numbers", [{"cpus": 9}, {"threads": 9}, {"gpus": 0.5}])
def test_share_that_no_machine_has_is_refused(numbers: dict) -> None:
    with pytest.raises(UserError, match=r"No machine here has (1 core|[2-9] cores) "):
        share([Machine(8, 0), Machine(8, 0)], **numbers)
