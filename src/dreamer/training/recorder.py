"""What a run leaves behind to look at: scalars, the display, evaluation and open-loop videos."""

import logging
import time
from collections.abc import Mapping

import numpy as np

from dreamer.errors import UserError
from dreamer.training import video
from dreamer.training.counters import Counters
from dreamer.training.dream import Dream
from dreamer.training.evaluate import Evaluation
from dreamer.training.metrics import MetricsWriter
from dreamer.training.progress import Progress
from dreamer.training.run_directory import RunDirectory

_logger = logging.getLogger(__name__)


class Recorder:
    """Writes `metrics.jsonl`, TensorBoard and `videos/`, and keeps the display and the clock going."""

    def __init__(self, run_directory: RunDirectory, counters: Counters, total_env_steps: int):
        self.counters = counters
        self.videos = run_directory.videos
        self.writer = MetricsWriter(run_directory.path)
        self.progress = Progress(total_env_steps, counters.env_step)
        self._film_ending = ".mp4"
        self._ticked = time.monotonic()

    def start(self, counters: Counters) -> None:
        """Begin to count time and frames from `counters`, new or resumed."""
        self.counters = counters
        self.progress = Progress(self.progress.total, counters.env_step)
        self._ticked = time.monotonic()

    def scalars(self, scalars: Mapping[str, float]) -> None:
        """Write one line of the record."""
        self.tick()
        self.writer.write(self.counters, {**scalars, "time/env_steps_per_s": self.progress.speed})

    def episode(self, total_return: float, length: int) -> None:
        """Record a collected episode: its undiscounted return and its decisions."""
        self.scalars({"train/return": total_return, "train/length": length})
        self.show(train_return=total_return)

    def evaluation(self, result: Evaluation) -> None:
        """Record an evaluation, with the first episode as a video if it was filmed."""
        self.scalars(
            {
                "eval/return": result.mean,
                "eval/return_std": result.std,
                "eval/length": float(np.mean(result.lengths)),
                "eval/episodes": len(result.returns),
            }
        )
        self.show(eval_return=result.mean)
        if result.frames is not None:
            self._video("evaluation", result.frames)

    def dream(self, dream: Dream) -> None:
        """Show truth, model and error of open-loop predictions, below each other."""
        self._video("open_loop", video.comparison(dream.truth, dream.model))

    def show(self, train_return: float | None = None, eval_return: float | None = None) -> None:
        """Bring the display up to date."""
        self.progress.update(self.counters.env_step, self.counters.grad_step, train_return, eval_return)

    def tick(self) -> None:
        """Add the time since the last call to `counters.seconds`."""
        now = time.monotonic()
        self.counters.seconds += now - self._ticked
        self._ticked = now

    def _video(self, name: str, frames: np.ndarray) -> None:
        self.writer.video(name, frames, self.counters)
        path = self.videos / f"{name}-{self.counters.env_step:09d}{self._film_ending}"
        try:
            video.write_video(path, frames)
        except UserError as error:
            if path.suffix == ".gif":
                raise
            # No film is worth a run. If it is the disk that refuses, it refuses this one as well.
            _logger.warning("%s From here on films are written as .gif.", error)
            self._film_ending = ".gif"
            video.write_video(path.with_suffix(".gif"), frames)
