"""Offline, with the real package: what was logged is read back from its files."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.logs.logger import Logger
from dreamer.logs.metrics import MetricsWriter
from dreamer.logs.wandb_board import ID_FILE, WandbBoard, check_installed
from dreamer.presets import debug
from dreamer.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("default")  # of the package itself


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B without a network; it forgets afterwards how it was set up."""
    package = pytest.importorskip("wandb", reason="W&B is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    package.teardown()


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: a log of LevelDB's format after 7 bytes, in blocks of 32 KiB."""
    data, position, parts = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if kind == 0:  # the rest of a block, too short for a header
            position += 32768 - position % 32768
            continue
        parts += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def history(logdir: Path) -> list[dict[str, Any]]:
    """All logged values of all starts of a run, one dictionary for each `log`."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    wandb.teardown()  # Files are whole only when the service has ended.
    lines = []
    for file in sorted(logdir.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns):
        for data in records(file):
            record = Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                lines.append({x.key or ".".join(x.nested_key): json.loads(x.value_json) for x in items})
    return lines


@pytest.mark.usefixtures("offline")
def test_offline_run_keeps_scalars_and_videos_over_frames(tmp_path: Path) -> None:
    board = WandbBoard(tmp_path, {"seed": 3})
    board.scalars(1000, {"train/return": 5.5, "model/kl": float("nan")})
    board.video(1000, "evaluation", np.zeros((3, 8, 8, 3), np.uint8))
    board.close()
    scalars, video = history(tmp_path)
    assert (scalars["env_step"], scalars["train/return"]) == (1000, 5.5)
    assert video["env_step"] == 1000
    assert video["evaluation._type"] == "video-file"


@pytest.mark.usefixtures("offline")
def test_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    options = {"steps": 200, "prefill": 100, "time_limit": 50, "eval_every": 0, "logger": "wandb"}
    for steps in (200, 300):
        config = with_options(debug(), options | {"steps": steps, "device": "cpu"})
        trainer = Trainer(config, tmp_path / "run")
        assert trainer.run()
        trainer.close()
        time.sleep(1.1)  # W&B names folders by the second.
    name = (tmp_path / "run" / "wandb" / ID_FILE).read_text().strip()
    folders = list(tmp_path.glob("run/wandb/offline-run-*"))
    assert len(folders) == 2
    assert all(folder.name.endswith(name) for folder in folders)
    shown = [
        (line["env_step"], line["train/return"])
        for line in history(tmp_path / "run")
        if "train/return" in line
    ]
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert shown == [(line["env_step"], line["train/return"]) for line in lines if "train/return" in line]
    assert not (tmp_path / "run" / "tensorboard").exists()


def logger_of(kind: str, path: Path) -> Logger:

    counters: Any = SimpleNamespace(env_step=10, agent_step=5, grad_step=0, seconds=0.0)
    return Logger(path, counters, 100, config=with_options(Config(), {"logger": kind}))


def test_none_writes_the_record_alone(tmp_path: Path) -> None:
    logger_of("none", tmp_path).episode(1.0, 5)
    assert [path.name for path in tmp_path.iterdir()] == [MetricsWriter(tmp_path).path.name]


@pytest.mark.parametrize("fails", ["init", "log"])
def test_failing_wandb_is_one_warning(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = pytest.importorskip("wandb", reason="W&B is not installed")

    class Run:
        def log(self, *_: Any) -> None:
            raise ConnectionError("the service\nhas gone")

        def finish(self) -> None:
            pytest.fail("nothing more is tried")

        def define_metric(self, *_: Any, **__: Any) -> None:
            pass

    def init(**_: Any) -> Run:
        if fails == "init":
            raise package.errors.UsageError("No API key")
        return Run()

    monkeypatch.setattr(package, "init", init)
    logger = logger_of("both", tmp_path)
    with caplog.at_level(logging.WARNING), logger:
        for _ in range(3):
            logger.episode(1.0, 5)
    cause = {"init": "No API key", "log": "the service has gone"}[fails]
    assert caplog.messages == [f"W&B gets nothing more of this run: {cause}"]
    assert len(logger.writer.path.read_text().splitlines()) == 3
    assert list((tmp_path / "tensorboard").iterdir())


def test_missing_package_is_a_sentence_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamer.logs.wandb_board.find_spec", lambda _: None)
    check_installed("tensorboard")
    with pytest.raises(UserError, match=r"pip install 'dream-to-control\[wandb\]'"):
        Trainer(with_options(debug(), {"logger": "both"}), tmp_path / "run")
    assert not list(tmp_path.iterdir())
