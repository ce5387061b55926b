"""The command line: it reads options and calls what does the work.

What loads PyTorch or a simulator is imported inside the functions, so that `--help` and mistyped options are
answered at once.
"""

import functools
import json
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import dreamer
from dreamer.config import RENAMED, Config, check, flag
from dreamer.errors import UserError, did_you_mean
from dreamer.logs.stdout import Stdout, open_closed_streams
from dreamer.presets import preset as preset_named

Device = Literal["auto", "cpu", "cuda"]
PresetName = Literal["auto", "paper", "laptop", "atari", "debug"]
Precision = Literal["float32", "bfloat16"]
Subject = Literal["update", "training", "parts", "acting", "environment", "replay"]
RunPath = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[list[Path], tyro.conf.Positional]
RunOptions = Annotated[Config, tyro.conf.arg(name="")]

DEFAULTS = Config()

DESCRIPTION = """\
Dreamer: learning behaviors by latent imagination.

examples:
  dreamer train --env dmc:walker_stand
  dreamer train --env dmc:cartpole_swingup --preset paper --seed 1 --logdir runs/swingup-1
  dreamer sweep --tasks all --seeds 5 --preset paper --out runs/paper
  dreamer eval runs/swingup-1 --episodes 10 --video swingup.mp4
  dreamer plot runs/swingup-1 --out curve.png
  dreamer report runs/swingup-* --out report

`dreamer COMMAND --help` lists the options of a command.
"""


def train(preset: PresetName = "auto", logdir: Path | None = None, config: RunOptions = DEFAULTS) -> None:
    """Learn a task, from the first random episode to the last evaluation.

    Ctrl-C saves a checkpoint; the same command goes on from it.

    Examples: `dreamer train --env dmc:walker_stand`, `dreamer train --env gym:my_module:MyEnv-v0`.

    Args:
        preset: Starting point of all options; `auto` is `paper` with a GPU, else `laptop`.
        logdir: Directory of the run; the default is made of environment, preset and seed, under `runs/`.
        config: All options of the run.
    """
    config = _checked(config)
    from dreamer.distributed.launch import make_parallel_agent, process_group, run_other_rank
    from dreamer.training.make import make_trainer

    logdir = logdir or _default_logdir(preset, config)
    with process_group(config) as ranks:
        if not ranks.is_main:
            run_other_rank(config, ranks)
            return
        parallel = functools.partial(make_parallel_agent, ranks=ranks)
        with closing(make_trainer(config, logdir, parallel)) as trainer:
            print(f"{'Resuming' if trainer.resumed else 'Training'} {config.environment.env} in {logdir}")
            complete = trainer.run()
    frames = f"{trainer.counters.env_step:,} frames"
    if complete:
        print(f"Done after {frames}. Look at it: dreamer dream {logdir}; dreamer plot {logdir}")
    else:
        saved = logdir / "checkpoint"
        print(f"Stopped after {frames}; saved in {saved}. The same command goes on from there.")


def evaluate(
    run: RunPath, episodes: int = 10, seed: int = 0, video: Path | None = None, device: Device = "auto"
) -> None:
    """Play whole episodes with the deterministic policy, in fresh environments.

    The last line printed is one JSON object: mean, std, returns, env_step.

    Examples: `dreamer eval runs/swingup-1`, `dreamer eval runs/swingup-1 --episodes 1 --video swingup.mp4`.

    Args:
        run: A run directory.
        episodes: How many to play.
        seed: Decides how the episodes begin.
        video: File for a video of the first episode (.mp4 or .gif).
        device: Where the networks run.
    """
    import numpy as np

    from dreamer.logs.video import check_format, enlarge, write_video
    from dreamer.storage.load import load_run
    from dreamer.training.evaluate import evaluate as play

    _check_at_least(1, "--episodes", episodes)
    _check_at_least(0, "--seed", seed)
    if video is not None:
        check_format(video)
    trained = load_run(run, device=device)
    with closing(trained.envs):
        if video is not None and not trained.envs.spec.images:
            raise UserError("This agent sees no images, so there is nothing to show: leave --video out.")
        result = play(trained.agent, trained.envs, episodes, seed, video is not None)
    mean, std = float(np.mean(result.returns)), float(np.std(result.returns))
    scores = {"mean": mean, "std": std, "returns": result.returns, "env_step": trained.env_step}
    print(json.dumps(scores))  # before the video, which may fail if the disk is full
    if video is not None and result.images is not None:
        write_video(video, enlarge(result.images, 4))


def dream(
    run: RunPath,
    out: Path | None = None,
    sequences: int = 6,
    length: int = 50,
    context: int = 5,
    seed: int = 0,
) -> None:
    """Open-loop prediction: see `--context` images of past episodes, then predict from the recorded actions.

    Writes a video (truth, model, error), an image of the first sequence, and the error by horizon as JSON,
    which is also the last line printed.

    Examples: `dreamer dream runs/swingup-1`, `dreamer dream runs/swingup-1 --out dream.gif --context 20`.

    Args:
        run: A run directory.
        out: Video to write (.mp4 or .gif), with image and JSON beside it; by default RUN/videos/dream.mp4.
        sequences: Windows of past episodes to predict.
        length: Steps of each, all within one episode; at most those of the longest episode.
        context: Steps that the model sees first.
        seed: Chooses the windows.
    """
    if not 0 < context < length:
        raise UserError(f"--context must lie between 0 and --length, got {context} and {length}.")
    _check_at_least(1, "--sequences", sequences)
    _check_at_least(0, "--seed", seed)
    from dreamer.logs.open_loop import predict, write
    from dreamer.logs.video import check_format
    from dreamer.replay.store import EpisodeStore
    from dreamer.storage.load import load_run

    out = out or run / "videos" / "dream.mp4"
    check_format(out)
    trained = load_run(run)
    trained.envs.close()
    episodes = EpisodeStore(trained.directory.replay, mode="r")
    result = predict(trained.agent, episodes, seed, sequences, length, context)
    errors = write(result, trained.env_step, out)
    print(f"Wrote {out}, {out.with_suffix('.png')} and {out.with_suffix('.json')}")
    print(json.dumps(errors))


def plot(paths: Paths, out: Path = Path("curve.png")) -> None:
    """Draw learning curves over the published curves of the same tasks.

    Examples: `dreamer plot runs/swingup-1`, `dreamer plot docs/results/scores/*.csv --out all.pdf`.

    Args:
        paths: Run directories or scores files.
        out: Image to write (.png, .svg or .pdf).
    """
    from dreamer.results.plot import plot_runs

    plot_runs(paths, out)
    print(f"Wrote {out}")


def scores(runs: Paths, out: Path, command: str = "", commit: str = "", hardware: str = "") -> None:
    """Add finished runs of one method to a scores file, with how they were made in a JSON file beside it.

    A run of the same task and seed is replaced.

    Example: `dreamer scores runs/swingup-* --out dreamer_laptop.csv --hardware "2 cores"`.

    Args:
        runs: Run directories.
        out: Scores file (.csv), made if it is missing.
        command: Command of every run, with TASK and SEED in place of the run's own.
        commit: Commit of the code.
        hardware: Machine that the runs were made on.
    """
    from dreamer.results.scores import append_run

    for run in runs:
        append_run(run, out, command, commit, hardware)
        print(f"Added {run} to {out}")


def table(files: Paths) -> None:
    """Print scores files as a Markdown table, beside the published scores.

    Example: `dreamer table docs/results/scores/dreamer_laptop.csv`.

    Args:
        files: Scores files.
    """
    from dreamer.results.report import results_table

    print(results_table(files), end="")


def report(runs: Paths, out: Path = Path("report")) -> None:
    """Write a page with curves, scores and videos beside the published ones; it opens without a network.

    Examples: `dreamer report runs/swingup-*`, `dreamer report runs/sweep --out report`,
    `dreamer report docs/results/scores/dreamer_laptop.csv --out report`.

    Args:
        runs: Run directories, directories of sweeps, or scores files.
        out: Directory for the page and its videos.
    """
    from dreamer.report.page import write_report

    written = write_report(runs, out)
    for note in written.notes:
        print(f"dreamer: {note}", file=sys.stderr)
    print(f"Wrote {written.page}")


def export(run: RunPath, out: Path = Path("policy.pt")) -> None:
    """Write a trained policy as one file, for `dreamer.load_policy`, which needs no simulator.

    Example: `dreamer export runs/swingup-1 --out swingup.pt`.

    Args:
        run: A run directory.
        out: File to write.
    """
    from dreamer.export.export import export_run

    export_run(run, out)
    print(f"Wrote {out}")


def bench(
    preset: PresetName = "auto",
    json: Path | None = None,
    baseline: Path | None = None,
    tolerance: float = 1.3,
    repeats: int = 10,
    rounds: int = 5,
    precisions: tuple[Precision, ...] = (),
    only: tuple[Subject, ...] = (),
    config: RunOptions = DEFAULTS,
) -> int:
    """Measure what a run with these options costs here.

    That is a gradient step as a whole and by part, an agent step, an environment step, a batch from the
    replay, and training end to end; with quartiles, and with the time that the counted operations take at the
    speed of this machine's matrix products. With a baseline, the exit status is 1 if anything has become
    worse by more than the tolerance.

    Examples: `dreamer bench --preset paper --json bench.json`, `dreamer bench --baseline bench.json`.

    Args:
        preset: Starting point of all options; `auto` is `paper` with a GPU, else `laptop`.
        json: File for all measurements.
        baseline: File of an earlier measurement, to compare with.
        tolerance: With a baseline: how many times worse a measurement may be.
        repeats: Least number of repetitions of each measurement, after a warm-up.
        rounds: Rounds of collection and updates in the measurement of training.
        precisions: Precisions to measure one after the other; without any, the run's own.
        only: What to measure; without any, everything.
        config: All options of the run.
    """
    config = _checked(config)
    from dreamer.bench.run import bench as measure

    return measure(config, json, baseline, tolerance, repeats, rounds, precisions, only)


def doctor(preset: PresetName = "auto", logdir: Path | None = None, config: RunOptions = DEFAULTS) -> int:
    """Check whether this machine is fit for a run with these options, and predict what it would cost.

    That is graphics, device, precision, memory and disk, then the hours from a few measured seconds. Nothing
    is written. The exit status is 1 if something stands in the way.

    Examples: `dreamer doctor --preset paper`, `dreamer doctor --env gym:my_module:MyEnv-v0`.

    Args:
        preset: Starting point of all options; `auto` is `paper` with a GPU, else `laptop`.
        logdir: Directory that the run would have; free space is looked up there.
        config: All options of the run.
    """
    config = _checked(config)
    from dreamer.bench.doctor import doctor as check_machine

    return check_machine(config, logdir or _default_logdir(preset, config))


def sweep() -> None:
    """Train many tasks, variants and seeds, on one machine or a Ray cluster."""


COMMANDS: dict[str, Callable[..., int | None]] = {
    "train": train,
    "sweep": sweep,
    "eval": evaluate,
    "dream": dream,
    "plot": plot,
    "scores": scores,
    "table": table,
    "report": report,
    "export": export,
    "bench": bench,
    "doctor": doctor,
}
OF_A_RUN = ("train", "bench", "doctor")
"""Commands that take all options of a run, starting from a preset."""


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its status."""
    open_closed_streams()
    # Whoever trains is not stopped by output that nobody can see. Of other commands the output is the result.
    needed = sys.argv[1:2] not in (["train"], ["sweep"])
    with redirect_stderr(Stdout(sys.stderr)), redirect_stdout(Stdout(sys.stdout, needed)):  # pyright: ignore[reportArgumentType]
        status = _run()
    if "dreamer.distributed.ranks" in sys.modules:
        from dreamer.distributed.ranks import exit_process

        exit_process(status)
    sys.exit(status)


def _run() -> int:
    """Run the command that `sys.argv` names, and return its status; errors of the user are printed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # `gym:my_module:MyEnv-v0` finds my_module.py in the current folder. It comes last, so that a random.py
    # there does not hide the standard library's.
    sys.path.append(str(Path.cwd()))
    try:
        status = run(sys.argv[1:] or ["--help"])
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of `dreamer ... | head` has seen enough
        return 128 + signal.SIGPIPE


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    name = arguments[0]
    if name == "sweep":
        from dreamer.sweep.sweep import main as run_sweep

        return run_sweep(arguments[1:])  # options of its own, and all others are those of every run
    if name == "--version":
        print(f"dreamer {dreamer.__version__}")
        return 0
    if not name.startswith("-") and name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        raise UserError(f"There is no command {name!r}{hint}; there are {', '.join(COMMANDS)}.")
    app = tyro.extras.SubcommandApp()
    for command, function in COMMANDS.items():
        summary = (function.__doc__ or "").splitlines()[0]
        start = _start(arguments[1:]) if command == name and name in OF_A_RUN else {}
        # The overview has a line for each command, and the help of a command its whole text.
        add = app.command(name=command, help=None if command == name else summary)
        add(functools.partial(function, **start))
    status = app.cli(
        prog="dreamer", description=DESCRIPTION, args=arguments, config=(tyro.conf.OmitArgPrefixes,)
    )
    return status or 0


@dataclass(frozen=True)
class _Start:
    """What is read first, since the defaults of all other options depend on it."""

    preset: str = "auto"
    env: str = ""
    agent: str = ""


def _start(arguments: list[str]) -> dict[str, Any]:
    """Return the preset and all its options, as defaults of a command."""
    for argument in arguments:  # the new name of an option helps more than a list of all
        name = argument.split("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if argument.startswith("--") and name in RENAMED:
            raise UserError(f"{flag(name)} is now {flag(RENAMED[name])}: see --help.")
    start, _ = tyro.cli(_Start, args=arguments, return_unknown_args=True, add_help=False)
    return {"preset": start.preset, "config": preset_named(start.preset, start.env, start.agent)}


def _checked(config: Config) -> Config:
    """Return the options with numbers in place of `auto`. Raises `UserError` if they cannot work."""
    check(config)
    from dreamer.envs.action_repeat import resolve

    return resolve(config)


def _default_logdir(preset: str, config: Config) -> Path:
    env = config.environment.env.replace(":", "-").replace("/", "-")
    return Path("runs") / f"{env}-{preset}-{config.behavior.agent}-{config.training.seed}"


def _check_at_least(least: int, option: str, value: int) -> None:
    if value < least:
        raise UserError(f"{option} must be at least {least}, got {value}.")
