"""Commands that train, or measure what training costs."""

import functools
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Literal

from dreamer.cli import beginning
from dreamer.cli.options import (
    DEFAULTS,
    PresetName,
    RunOptions,
    Start,
    checked,
    default_logdir,
    starting_point,
)
from dreamer.config import Config
from dreamer.ray_cluster import with_actors

Precision = Literal["float32", "bfloat16"]
Subject = Literal["update", "training", "parts", "acting", "environment", "replay"]


def train(
    preset: PresetName | None = None,
    config: Path | None = None,
    logdir: Path | None = None,
    ray: str | None = None,
    options: RunOptions = DEFAULTS,
) -> int:
    """Learn a task, from the first random episode to the last evaluation.

    Ctrl-C saves a checkpoint; the same command goes on from it, and so does `--logdir RUN` alone. A run that is
    stopped by a signal ends with the status 128 + its number: 130 after Ctrl-C.

    Examples: `dreamer train --env dmc:walker_stand`, `dreamer train --env gym:my_module:MyEnv-v0`,
    `dreamer train --logdir runs/swingup-1 --steps 2e6`.

    Args:
        preset: Where all options start: `paper` for a GPU, `laptop` without, `atari` for games, `debug` to try
            things out. `auto` is `paper` with a GPU, else `laptop`.
        config: Start from a copy of these options instead: a run directory, or a `config.json`.
        logdir: Directory of the run. If a run is there, it goes on, by default with its own options. Without, a name
            under `runs/` is made of the environment, the preset and what differs from it.
        ray: Have the --num-envs actors of `d4pg` on the Ray cluster at this address; without an address, on this
            machine. They collect with --async-collect.
        options: All options of the run.
    """
    options = options if ray is None else with_actors(options)
    start = _start(preset, config, logdir, options)
    logdir = logdir or default_logdir(start, options)
    options = checked(options)
    from dreamer.distributed.launch import make_parallel_agent, process_group, run_other_rank
    from dreamer.training.make import make_trainer

    with process_group(options) as ranks:
        if not ranks.is_main:
            run_other_rank(options, ranks)
            return 0
        parallel = functools.partial(make_parallel_agent, ranks=ranks)
        with closing(make_trainer(options, logdir, parallel, ray)) as trainer:
            for line in beginning.lines(trainer, start, logdir):
                print(line, flush=True)
            complete = trainer.run()
    frames = f"{trainer.counters.env_step:,} frames"
    if complete:
        predicted = any(
            trainer.run_directory.videos.glob("open_loop-*")
        )  # others have no decoder, or no images
        print(f"Done after {frames}. Look at it:")
        for command in ["plot", "eval", *(["dream"] if predicted else [])]:
            print(f"  dreamer {command} {quote(str(logdir))}")
        return 0
    saved = logdir / "checkpoint"
    print(f"Stopped after {frames}; saved in {saved}. The same command goes on from there.")
    return trainer.interrupt.status


def sweep() -> None:
    """Train many tasks, variants and seeds, on one machine or a Ray cluster."""


def doctor(
    preset: PresetName | None = None,
    config: Path | None = None,
    logdir: Path | None = None,
    options: RunOptions = DEFAULTS,
) -> int:
    """Check whether this machine is fit for a run with these options, and predict what it would cost.

    That is graphics, device, precision, memory and disk, then the hours from a few measured seconds. Nothing
    is written. The exit status is 1 if something stands in the way.

    Examples: `dreamer doctor --preset paper`, `dreamer doctor --env gym:my_module:MyEnv-v0`.

    Args:
        preset: Where all options start; `auto` is `paper` with a GPU, else `laptop`.
        config: Start from a copy of these options instead: a run directory, or a `config.json`.
        logdir: Directory that the run has or would have; free space is looked up there.
        options: All options of the run.
    """
    logdir = logdir or default_logdir(_start(preset, config, logdir, options), options)
    options = checked(options)
    from dreamer.bench.doctor import doctor as check_machine

    return check_machine(options, logdir)


def bench(
    preset: PresetName | None = None,
    config: Path | None = None,
    json: Path | None = None,
    baseline: Path | None = None,
    tolerance: float = 1.3,
    repeats: int = 10,
    rounds: int = 5,
    precisions: tuple[Precision, ...] = (),
    only: tuple[Subject, ...] = (),
    options: RunOptions = DEFAULTS,
) -> int:
    """Measure what a run with these options costs here.

    That is a gradient step as a whole and by part, an agent step, an environment step, a batch from the
    replay, and training end to end; with quartiles, and with the time that the counted operations take at the
    speed of this machine's matrix products. With a baseline, the exit status is 1 if anything has become
    worse by more than the tolerance.

    Examples: `dreamer bench --preset paper --json bench.json`, `dreamer bench --baseline bench.json`.

    Args:
        preset: Where all options start; `auto` is `paper` with a GPU, else `laptop`.
        config: Start from a copy of these options instead: a run directory, or a `config.json`.
        json: File for all measurements.
        baseline: File of an earlier measurement, to compare with.
        tolerance: With a baseline: how many times worse a measurement may be.
        repeats: Least number of repetitions of each measurement, after a warm-up.
        rounds: Rounds of collection and updates in the measurement of training.
        precisions: Precisions to measure one after the other; without any, the run's own.
        only: What to measure; without any, everything.
        options: All options of the run.
    """
    options = checked(options)
    from dreamer.bench.run import bench as measure

    return measure(options, json, baseline, tolerance, repeats, rounds, precisions, only)


def _start(preset: str | None, config: Path | None, logdir: Path | None, options: Config) -> Start:
    """Return the starting point once more, now that environment and agent are known."""
    env, agent = options.environment.env, options.behavior.agent
    return starting_point(preset or "", config, logdir, env, agent)
