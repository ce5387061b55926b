"""Everything that a run shows while it trains: metrics, the progress line, videos."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch import Tensor

from dreamer.config import Config, to_flat
from dreamer.logs.board import Board
from dreamer.logs.metrics import Counters, Mean, MetricsWriter, explained_variance, memory
from dreamer.logs.progress import Forecast, Progress
from dreamer.logs.tensorboard import TensorBoard
from dreamer.logs.video import write_video
from dreamer.logs.wandb_board import WandbBoard
from dreamer.types import Metrics

_logger = logging.getLogger(__name__)


class Logger:
    """Write `metrics.jsonl`, `videos/` and what `--logger` names, and show progress; enter it while the run trains.

    `counters` are those of the run, read whenever something is written, `doing` says what the run does, and W&B is
    told `config`.
    `metrics.jsonl` is the record of the run: it is written first, and if the disk refuses it, the run ends with a
    `UserError`. All else is only shown: if it fails, there is one warning, and the run goes on.
    """

    def __init__(
        self,
        logdir: Path,
        counters: Counters,
        total_env_steps: int,
        doing: Callable[[], str] = lambda: "learning",
        config: Config | None = None,
    ):
        self.counters, self.total, self.doing = counters, total_env_steps, doing
        self.forecast: Forecast | None = None
        self.videos = logdir / "videos"
        self.writer = MetricsWriter(logdir)
        self.tensorboard = TensorBoard(logdir / "tensorboard")
        self.boards = self._boards(logdir, config or Config())
        self.progress = Progress(total_env_steps)
        self.means = Mean()
        self._round: tuple[int, float] | None = None
        """Updates taken, and the time, after the first update of the present round."""
        self._video_formats = [".mp4", ".gif"]

    def _boards(self, logdir: Path, config: Config) -> list[Board]:
        wanted = config.training.logger
        boards: list[Board] = [self.tensorboard] if wanted in ("tensorboard", "both") else []
        return [*boards, WandbBoard(logdir, to_flat(config))] if wanted in ("wandb", "both") else boards

    def __enter__(self) -> Self:
        self.progress = Progress(
            self.total, self.counters.env_step, self.counters.grad_step, forecast=self.forecast
        )
        train_return, eval_return = self.writer.last("train/return", "eval/return")
        self.show(train_return, eval_return)
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        for board in self.boards:
            board.close()

    def scalars(self, scalars: Mapping[str, float]) -> None:
        """Write one line of metrics."""
        scalars = {**scalars, "time/env_steps_per_s": self.progress.speed}
        self.writer.write(self.counters, scalars)
        for board in self.boards:
            board.scalars(self.counters.env_step, scalars)

    def episode(self, total_return: float, length: int) -> None:
        """Log a collected episode: its undiscounted return, and its length in agent steps."""
        self.scalars({"train/return": total_return, "train/length": length})
        self.show(train_return=total_return)

    def env_failure(self, total: int) -> None:
        """Log that an environment has failed, `total` times so far."""
        self.scalars({"env/failures": total})

    def update(self, metrics: Metrics, skipped: Tensor) -> None:
        """Take the metrics of one update into the means of the round; they do not count if it was skipped."""
        self._round = self._round or (self.counters.grad_step, time.monotonic())
        self.means.add({"model/skipped_updates": skipped})
        self.means.add(metrics, skipped)
        self.show()

    def round(self) -> None:
        """Log the means over a round of updates, its speed and the memory."""
        means = self.means.pop()  # waits for the device
        first, begun = self._round or (self.counters.grad_step, 0.0)
        if (updates := self.counters.grad_step - first) > 0:  # those after the first, whose end was the begin
            means["time/updates_per_s"] = updates / (time.monotonic() - begun)
        self._round = None
        self.scalars(means | explained_variance(means) | memory())

    def evaluation(self, returns: Sequence[float], lengths: Sequence[int]) -> None:
        """Log the undiscounted returns of evaluation episodes, and their lengths in agent steps."""
        mean = float(np.mean(returns))
        self.scalars(
            {
                "eval/return": mean,
                "eval/return_std": float(np.std(returns)),
                "eval/length": float(np.mean(lengths)),
                "eval/episodes": len(returns),
            }
        )
        self.show(eval_return=mean)

    def video(self, name: str, images: np.ndarray) -> None:
        """Write images `(T, H, W, 3)`, uint8, to the boards and as .mp4, or .gif where that is not possible."""
        self.show(doing="writing videos")
        for board in self.boards:
            board.video(self.counters.env_step, name, images)
        while self._video_formats:
            ending, *others = self._video_formats
            try:
                write_video(self.videos / f"{name}-{self.counters.env_step:09d}{ending}", images)
                return
            except Exception as error:
                consequence = f"are written as {others[0]}" if others else "are left out"
                _logger.warning("%s From here on videos %s.", error, consequence)
                self._video_formats = others

    def show(
        self, train_return: float | None = None, eval_return: float | None = None, doing: str = ""
    ) -> None:
        """Bring the progress line up to date."""
        env_step, grad_step = self.counters.env_step, self.counters.grad_step
        self.progress.update(env_step, grad_step, train_return, eval_return, doing or self.doing())

    def state_dict(self) -> dict[str, Any]:
        """Return the means that are not logged yet, `metrics.jsonl`, and the lengths of TensorBoard's files."""
        return {
            "means": self.means.state_dict(),
            "record": self.writer.state_dict(),
            "tensorboard": self.tensorboard.extent(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; what was logged after it is dropped. The counters are loaded before."""
        self.means.load_state_dict(state["means"])
        if "record" in state:
            self.writer.load_state_dict(state["record"])
        else:
            self.writer.rewind_to_length(state["offset"])
        self.tensorboard.rewind(state.get("tensorboard", self.tensorboard.extent()), self.counters.env_step)

    def start_anew(self) -> None:
        """Drop what a run has left behind that was killed before its first checkpoint."""
        self.writer.start_anew()
        self.tensorboard.rewind({}, 0)
