"""Train for a few rounds, and read the speed from the log of that run."""

import contextlib
import io
import itertools
import math
import tempfile
from pathlib import Path

from dreamer.bench.measurement import Measurement, Timer
from dreamer.config import Config, TrainConfig, with_options
from dreamer.results.curves import read_metrics
from dreamer.training.trainer import Trainer

LEAST_UPDATES = 5
"""Fewest updates of a shortened round; with fewer, the work that is done once per round would count too much."""


def training(timer: Timer, config: Config, rounds: int) -> Measurement:
    """Frames per second over `rounds` rounds of collecting and updates.

    A whole run also takes random frames, pretraining, evaluation, checkpoints and videos.
    """
    environment = config.environment
    every, updates = short_round(config.training, environment.repeat * environment.num_envs)
    changes = {
        "train_every": every,
        "train_steps": updates,
        "prefill": 0,
        "pretrain_model": 0,
        "pretrain_value": 0,
        "steps": environment.time_limit * environment.num_envs + rounds * every,
        "eval_every": 0,
        "checkpoint_every": 10**9,
        "video_every": 10**9 if config.training.video_every else 0,
    }
    with tempfile.TemporaryDirectory(prefix="dreamer-bench-") as directory:
        run = Path(directory) / "run"
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.closing(Trainer(with_options(config, changes), run)) as trainer,
        ):
            trainer.run(final_evaluation=False)
            if trainer.interrupt.requested:  # the signal was meant for the bench, too
                raise KeyboardInterrupt
        return timer.summary("training", "frames per second", frames_per_second(run), "frames/s")


def short_round(training: TrainConfig, frames_per_step: int) -> tuple[int, int]:
    """Return frames and updates of the shortest round that keeps their ratio exactly."""
    every, updates = training.train_every, training.train_steps
    divisors = [n for n in range(1, math.gcd(every, updates) + 1) if every % n == updates % n == 0]
    short = [n for n in divisors if updates // n >= LEAST_UPDATES and every // n >= frames_per_step]
    share = max(short, default=1)
    return every // share, updates // share


def frames_per_second(run: Path) -> list[float]:
    """Return the speed between the ends of every two successive rounds of updates in a run's log."""
    ends = [line for line in read_metrics(run) if "model/skipped_updates" in line]
    return [
        (after["env_step"] - before["env_step"]) / (after["seconds"] - before["seconds"])
        for before, after in itertools.pairwise(ends)
    ]
