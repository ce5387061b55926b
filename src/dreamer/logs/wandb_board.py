"""Metrics and videos at Weights & Biases (`--logger wandb`), a copy of what `metrics.jsonl` and `videos/` hold.

W&B's own environment variables hold, such as `WANDB_MODE=offline`, with which all stays in the run's folder `wandb/`.
A run that goes on is the same run at W&B. What it repeats since its checkpoint is there twice: W&B takes nothing back.
"""

import io
import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.errors import UserError
from dreamer.logs.board import Board, gif

PROJECT = "dreamer"
ID_FILE = "run-id"
"""In the run's folder `wandb/`: its name at W&B."""


class WandbBoard(Board):
    """A run at W&B, which begins when the first scalar is shown."""

    name = "W&B"

    def __init__(self, logdir: Path, options: Mapping[str, Any]) -> None:
        self.directory, self._title, self._options = logdir / "wandb", logdir.name, dict(options)

    def scalars(self, env_step: int, scalars: Mapping[str, float]) -> None:
        self.attempt(lambda: self._run.log({"env_step": env_step, **scalars}))

    def video(self, env_step: int, name: str, images: np.ndarray) -> None:
        self.attempt(lambda: self._run.log({"env_step": env_step, name: self._video(images)}))

    def close(self) -> None:
        if "_run" in vars(self):
            self.attempt(self._run.finish)
            del self._run

    @cached_property
    def _run(self) -> Any:
        import wandb

        self.directory.mkdir(exist_ok=True)
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=self._title,
            id=self._id(),
            dir=self.directory.parent,
            config=self._options,
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        # The x-axis of everything; W&B's own step could not go back to a checkpoint.
        run.define_metric("env_step", hidden=True)
        run.define_metric("*", step_metric="env_step")
        return run

    def _id(self) -> str:
        """Return the name that the run has at W&B, a new one at its first start."""
        file = self.directory / ID_FILE
        if not file.exists():
            file.write_text(secrets.token_hex(4) + "\n")
        return file.read_text().strip()

    def _video(self, images: np.ndarray) -> Any:
        import wandb

        return wandb.Video(io.BytesIO(gif(images)), format="gif")


def check_installed(logger: str) -> None:
    """Raise `UserError` if a run asks for W&B and the package is missing."""
    if logger in ("wandb", "both") and find_spec("wandb") is None:
        raise UserError(
            f"--logger {logger} needs W&B: pip install 'dream-to-control[wandb]', or leave --logger out."
        )
