"""A small trained run, and the page of it."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from dreamer.config import with_options
from dreamer.errors import UserError
from dreamer.presets import debug
from dreamer.training.make import make_trainer
from dreamer.view.page import write_view
from dreamer.view.runtime import read_runtime

pytest.importorskip("onnx", reason="the packages for ONNX are not installed")


def train(path: Path, **options: object) -> Path:
    """Train a run of the preset `debug` for a few updates, in a toy environment."""
    config = with_options(debug(), {"env": "toy:dot", "steps": 400, "eval_every": 10_000, **options})
    with closing(make_trainer(config, path)) as trainer:
        trainer.run()
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "dot")


@pytest.fixture(scope="session")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery: the same run twice, under two names."""
    try:
        read_runtime()
    except UserError as error:
        pytest.skip(str(error))
    other = run.with_name("other")
    shutil.copytree(run, other)
    return write_view([run, other], tmp_path_factory.mktemp("page") / "dream.html")
