"""What the command line does, from Python."""

from pathlib import Path

import numpy as np
import pytest

import dreamer
from dreamer.errors import UserError


def test_train_export_and_act(tmp_path: Path) -> None:
    run, options = tmp_path / "run", {"preset": "debug", "steps": 300, "prefill": 100}
    assert dreamer.train(run, **options)
    assert dreamer.train(str(run), **options)  # complete: nothing is left to do
    dreamer.export_policy(run, tmp_path / "policy.pt")
    policy = dreamer.load_policy(tmp_path / "policy.pt")
    action = policy.act({"image": np.zeros((64, 64, 3), np.uint8)})
    assert np.abs(action).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "desktop"}, "There is no preset 'desktop'"),
        ({"batchsize": 3}, "There is no option 'batchsize'"),
        ({"batch_size": 0}, "--batch-size"),
        ({"env": "dmc:walker_wlak"}, "walker_walk"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dreamer.train(tmp_path / "run", **{"preset": "debug", **options})
    assert not (tmp_path / "run").exists()


def test_unknown_attributes_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'learn'"):
        _ = dreamer.learn  # pyright: ignore[reportAttributeAccessIssue]
