"""What memory and disk a run needs, found by a rehearsal: a short run with all parts of one; and the speed of A3C."""

import io
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamer.agents.make import make_agent
from dreamer.agents.precision import pick_device
from dreamer.baselines.a3c import A3C, Worker
from dreamer.config import Config, with_options
from dreamer.envs.make import make_env
from dreamer.machine import cores, peak_memory, peak_memory_of_children, reset_peak_memory
from dreamer.replay.make import bytes_per_agent_step, planned_elements
from dreamer.training.a3c_trainer import A3CTrainer
from dreamer.training.make import make_trainer
from dreamer.training.trainer import Trainer
from dreamer.types import EnvSpec

LONGEST = 100
"""Agent steps of the longest episode of a rehearsal; an open-loop prediction shows 50."""
ENCODER = 60 * 2**20
"""Bytes of memory of the program that writes .mp4 files."""
MORE_MEMORY, MORE_VIDEO = 1.15, 1.6
"""How much more memory, and bytes of a video, a whole run has than a rehearsal (docs/reliability.md)."""


@contextmanager
def short_run(config: Config, steps: int) -> Iterator[Trainer | A3CTrainer]:
    """Train for so many frames in a temporary directory, without the last evaluation, and yield what has trained.

    Raises `KeyboardInterrupt` if a signal has ended it, which was meant for the command, too.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dreamer-") as directory,
        closing(make_trainer(config, Path(directory) / "run")) as trainer,
    ):
        trainer.schedule = replace(trainer.schedule, steps=steps)
        with redirect_stdout(io.StringIO()):
            trainer.run(final_evaluation=False)
        if trainer.interrupt.requested:
            raise KeyboardInterrupt
        yield trainer


def rehearse(config: Config) -> tuple[dict[str, int], int]:
    """Predict the bytes of each kind of memory, with those of all processes, and the bytes on disk at the end.

    The run of `config` is shortened to an episode, two updates, an evaluation with its videos, and two checkpoints.
    Of the workers of A3C it has one, which stands for all.
    """
    environment, training = config.environment, config.training
    limit = min(environment.time_limit, LONGEST * environment.repeat)
    due = limit * environment.num_envs
    short: dict[str, Any] = dict.fromkeys(("prefill", "pretrain_model", "pretrain_value"), 0)
    short |= dict.fromkeys(("train_every", "eval_every", "checkpoint_every"), due)
    short |= {"time_limit": limit, "train_steps": 2, "video_every": due if training.video_every else 0}
    short |= {"logger": "tensorboard" if training.logger in ("tensorboard", "both") else "none"}
    short |= {"workers": 1} if config.workers else {}
    reset_peak_memory(pick_device(training.device))
    with short_run(with_options(config, short), due + 1) as trainer:
        memory, others = peak_memory(trainer.agent.device), peak_memory_of_children()
        run, growing = trainer.run_directory, _growing(trainer, config, limit)
        checkpoints, videos = _size(run.checkpoints), _size(run.videos) + _size(run.path / "tensorboard")
        spec, device = trainer.envs.spec, trainer.agent.device
    encoder = ENCODER if training.video_every else 0
    memory["process memory"] = (
        int(MORE_MEMORY * memory["process memory"]) + max(1, config.workers) * others + encoder
    )
    if config.replay.replay_device == "device":  # of which the rehearsal has an episode
        where = "GPU memory" if device.type == "cuda" else "process memory"
        memory[where] += planned_elements(config) * bytes_per_agent_step(spec)
    filmed = min(training.evaluations + 1, training.steps // (training.video_every or training.steps + 1))
    # The rehearsal has two checkpoints, and a run three while it writes one.
    return memory, int(growing + 1.5 * checkpoints + filmed * MORE_VIDEO * videos)


def speed_of_workers(spec: EnvSpec, config: Config, budget: float) -> float:
    """Return frames per second of all workers of A3C, from `budget` seconds of one of them in this process."""
    algorithm = make_agent(spec, config).algorithm
    assert isinstance(algorithm, A3C)
    with closing(make_env(config.environment, 0)) as env:
        worker, frames, begun = Worker(algorithm, env, 0), 0, time.perf_counter()
        while (seconds := time.perf_counter() - begun) < budget:
            frames += worker.round(0).frames
    return min(algorithm.options.workers, cores()) * frames / seconds


def _growing(trainer: Trainer | A3CTrainer, config: Config, limit: int) -> float:
    """Return the bytes at the end of what grows with the run, if episodes of a rehearsal have at most `limit` frames.

    That is the replay; or the log of A3C, which keeps no episodes, but has a line or two of each.
    """
    run, environment = trainer.run_directory, config.environment
    if isinstance(trainer, Trainer):
        lengths = trainer.store.lengths
        kept = _elements(config, lengths.mean() - 1, limit // environment.repeat)
        return kept / lengths.sum() * _size(run.replay)
    episodes = max(1, trainer.counters.episodes)
    log = (run.path / "metrics.jsonl").stat().st_size + _size(run.path / "tensorboard")
    length = trainer.counters.env_step / episodes
    return log / episodes * config.training.steps / (length if length < limit else environment.time_limit)


def _elements(config: Config, steps: float, limit: int) -> float:
    """Return how many elements of episodes will be on disk, if episodes of at most `limit` steps have had `steps`."""
    changes: dict[str, Any] = {}
    repeat, size = config.environment.repeat, config.replay.replay_size
    if steps < limit:  # they end by themselves
        changes["time_limit"] = math.ceil(steps * repeat)
    if size:  # what is pushed out is deleted with the second checkpoint after it
        changes["replay_size"] = size + 2 * config.training.checkpoint_every // repeat
    return planned_elements(with_options(config, changes))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
