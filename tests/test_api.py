"""What the command line does, from Python."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dreamer
from dreamer import cli
from dreamer.errors import UserError

OPTIONS: dict[str, Any] = {"preset": "debug", "steps": 300, "prefill": 100, "eval_every": 100}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of the preset `debug`, trained in a thread of its own."""
    path = tmp_path_factory.mktemp("api") / "run"
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(dreamer.train, path, **OPTIONS).result()
    return path


def test_train_export_and_act(run: Path, tmp_path: Path) -> None:
    assert dreamer.train(str(run), **OPTIONS)  # complete: nothing is left to do
    dreamer.export_policy(run, tmp_path / "policy.pt")
    policy = dreamer.load_policy(tmp_path / "policy.pt")
    action = policy.act({"image": np.zeros((64, 64, 3), np.uint8)})
    assert np.abs(action).max() <= 1


def test_run_without_a_preset_goes_on_with_its_own_options(run: Path) -> None:
    before = (run / "config.json").read_text()
    assert dreamer.train(run)
    assert (run / "config.json").read_text() == before


def test_evaluation_is_that_of_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = dreamer.evaluate(run, episodes=2, seed=3, images=True)
    assert cli.run(["eval", str(run), "--episodes", "2", "--seed", "3"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown == {"mean": result.mean, "std": result.std, "returns": result.returns, "env_step": 300}
    assert result.images is not None
    assert result.images.shape == (result.lengths[0], 64, 64, 3)


def test_dream_predicts_and_writes(run: Path, tmp_path: Path) -> None:
    prediction = dreamer.dream(run, tmp_path / "dream.gif", sequences=2, length=12)
    assert prediction.truth.shape == prediction.model.shape == (2, 12, 64, 64, 3)
    written = json.loads((tmp_path / "dream.json").read_text())
    assert written == {"env_step": 300, **prediction.errors}
    assert len(prediction.errors["mae"]) == 12 - prediction.context


def test_metrics_are_the_lines_of_the_file(run: Path) -> None:
    lines = dreamer.read_metrics(run)
    assert [json.dumps(line) for line in lines] == (run / "metrics.jsonl").read_text().splitlines()
    assert sum("eval/return" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: dreamer.evaluate(run, episodes=0), "--episodes must be at least 1"),
        (lambda run: dreamer.dream(run, context=50), "--context must lie between"),
        (lambda run: dreamer.dream(run, run / "dream.txt"), "mp4"),
        (lambda run: dreamer.read_metrics(run / "nothing"), "not a run directory"),
        (lambda run: dreamer.evaluate(run / "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_is_a_sentence(call: Callable[[Path], object], message: str, run: Path) -> None:
    with pytest.raises(UserError, match=message):
        call(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "desktop"}, "There is no preset 'desktop'"),
        ({"batchsize": 3}, "There is no option 'batchsize'"),
        ({"n_step": 3}, "There is no option 'n_step': it belongs to agent='d4pg'"),
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
