"""Train for a few rounds, and read the speed from the log of that run."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from dreamer.bench.collecting import seconds_per_step
from dreamer.bench.measurement import Measurement, Timer
from dreamer.config import Config, TrainConfig, with_options
from dreamer.machine import cores
from dreamer.results.curves import read_metrics
from dreamer.training.rehearsal import short_run

LEAST_UPDATES = 5
"""Fewest updates of a shortened round; with fewer, the work that is done once per round would count too much."""


def training(timer: Timer, config: Config, rounds: int) -> Iterator[Measurement]:
    """Frames per second over `rounds` rounds of collecting and updates, and of the environments alone.

    A whole run also takes random frames, pretraining, evaluation, checkpoints and videos.
    """
    environment = config.environment
    workers = config.workers  # they log at the ends of episodes
    at_once = workers or environment.num_envs
    every, updates = short_round(config.training, environment.repeat * environment.num_envs)
    every = environment.time_limit * workers or every
    changes = {
        "train_every": every,
        "train_steps": updates,
        "prefill": 0,
        "pretrain_model": 0,
        "pretrain_value": 0,
        "steps": environment.time_limit * at_once + rounds * every,
        "eval_every": 0,
        "checkpoint_every": 10**9,
        "video_every": 10**9 if config.training.video_every else 0,
    }
    with short_run(with_options(config, changes), changes["steps"]) as trainer:
        speeds = frames_per_second(trainer.run_directory.path, workers or 1)
    yield timer.summary("training", "frames per second", speeds, "frames/s")
    most = min(at_once, cores()) * environment.repeat / seconds_per_step(environment)
    yield timer.summary("training", "environments alone", [most], "frames/s")


def short_round(training: TrainConfig, frames_per_step: int) -> tuple[int, int]:
    """Return frames and updates of the shortest round that keeps their ratio exactly."""
    every, updates = training.train_every, training.train_steps
    divisors = [n for n in range(1, math.gcd(every, updates) + 1) if every % n == updates % n == 0]
    enough = (n for n in divisors if updates // n >= LEAST_UPDATES and every // n >= frames_per_step)
    share = max(enough, default=1)
    return every // share, updates // share


def frames_per_second(run: Path, every: int = 1) -> list[float]:
    """Return the speed between the ends of every two successive rounds of updates, or `every` lines, in a log."""
    keys = {"model/skipped_updates", "value/loss"}
    ends = [line for line in read_metrics(run) if keys & line.keys()][::every]
    spans = itertools.pairwise((line["env_step"], line["seconds"]) for line in ends)
    return [(after - before) / max(end - start, 0.001) for (before, start), (after, end) in spans]
