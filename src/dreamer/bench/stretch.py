"""A short stretch of real training, timed by its own record."""

import contextlib
import io
import itertools
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dreamer.bench.figure import Figure, Variant, figure_of
from dreamer.bench.work import Work
from dreamer.config import Config, TrainConfig, with_options
from dreamer.results.curves import read_metrics
from dreamer.training.trainer import Trainer

TRAINING = "training"
LEAST_UPDATES = 5
"""Updates of a shortened round: fewer would weigh what is done once a round too much."""


@dataclass(frozen=True)
class Schedule:
    """Rounds of `train_steps` updates after each `train_every` frames, in the ratio of the whole run."""

    train_every: int
    train_steps: int


def short_schedule(training: TrainConfig, frames_per_decision: int) -> Schedule:
    """Divide a round as far as the ratio of updates to frames stays exact."""
    every, steps = training.train_every, training.train_steps
    common = math.gcd(every, steps)
    shares = [
        share
        for share in range(1, common + 1)
        if common % share == 0 and steps // share >= LEAST_UPDATES and every // share >= frames_per_decision
    ]
    share = max(shares, default=1)
    return Schedule(every // share, steps // share)


def train_a_stretch(config: Config, variant: Variant, rounds: int) -> Figure:
    """Frames per second, end to end, over `rounds` rounds of collection and updates.

    Evaluation and checkpoints are left out, which in a whole run come on top.
    """
    environment = config.environment
    schedule = short_schedule(config.training, environment.repeat * environment.num_envs)
    prefill = environment.time_limit * environment.num_envs
    never = 10**9
    changes = {
        "train_every": schedule.train_every,
        "train_steps": schedule.train_steps,
        "prefill": 0,
        "pretrain_model": 0,
        "pretrain_value": 0,
        "steps": prefill + rounds * schedule.train_every,
        "eval_every": 0,
        "checkpoint_every": never,
        "video_every": never if config.training.video_every else 0,
    }
    with tempfile.TemporaryDirectory(prefix="dreamer-bench-") as directory:
        run = Path(directory) / "run"
        _train(with_options(config, changes), run)
        speeds = frames_per_second(run)
    return figure_of(TRAINING, "end to end", variant, "frames/s", speeds, Work(), None)


def frames_per_second(run: Path) -> list[float]:
    """Return the speed between the ends of every two rounds of updates, from a run's record."""
    ends = [line for line in read_metrics(run) if "model/loss" in line]
    return [
        (after["env_step"] - before["env_step"]) / (after["seconds"] - before["seconds"])
        for before, after in itertools.pairwise(ends)
    ]


def _train(config: Config, run: Path) -> None:
    """Train to the end, without the lines of progress that a run shows."""
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = Trainer(config, run)
        try:
            trainer.run(final_evaluation=False)
        finally:
            trainer.close()
