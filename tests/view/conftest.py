"""A small trained run, and what a page shows of it."""

from contextlib import closing
from pathlib import Path

import pytest

from dreamer.config import with_options
from dreamer.presets import debug
from dreamer.training.make import make_trainer
from dreamer.view.page import Dream, dream_of


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `toy:dot` after a few updates: images of 64x64, two actions, episodes of 51 steps."""
    path = tmp_path_factory.mktemp("runs") / "dot"
    options = {"env": "toy:dot", "steps": 400, "eval_every": 400, "checkpoint_every": 400, "device": "cpu"}
    with closing(make_trainer(with_options(debug(), options), path)) as trainer:
        trainer.run()
    return path


@pytest.fixture(scope="session")
def dream(run: Path) -> Dream:
    pytest.importorskip("onnx", reason="the packages for ONNX are not installed")
    return dream_of(run)
