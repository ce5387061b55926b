"""The command line: `dreamer train | eval | dream | plot | report | export | bench | doctor`.

Every option of a run has a flat name (`--horizon 15`); `dreamer train --help` lists them with their defaults.
"""

import json
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from dreamer.agents.ranks import Ranks, leave
from dreamer.config import RENAMED, Config, check, flag
from dreamer.errors import UserError
from dreamer.presets import preset
from dreamer.training.output import discard

Device = Literal["auto", "cpu", "cuda"]
PresetName = Literal["auto", "paper", "laptop", "atari", "debug"]
RunPath = Annotated[Path, tyro.conf.Positional]
Precision = Literal["float32", "bfloat16"]
Subject = Literal["update", "parts", "acting", "environment", "replay", "training"]

OVERVIEW = """\
usage: dreamer COMMAND [OPTIONS]

Dreamer: learning behaviors by latent imagination.

  train    learn a task; the same command again goes on where it stopped
  eval     play whole episodes with the deterministic policy
  dream    open-loop prediction: truth, dream and error as video and picture
  plot     learning curves over the published ones
  report   a page with curves, scores and videos beside the published ones
  export   write a trained policy as one file, for dreamer.load_policy
  bench    how long everything takes here; compare with an earlier measurement
  doctor   check graphics, device, precision and disk; predict hours and space

examples:
  dreamer train --env dmc:walker_stand
  dreamer train --env dmc:cartpole_swingup --preset paper --seed 1 --logdir runs/swingup-1
  dreamer eval runs/swingup-1 --episodes 10 --video swingup.mp4
  dreamer dream runs/swingup-1 --out dream.mp4
  dreamer plot runs/swingup-1 --out curve.png
  dreamer report runs/swingup-* --out report
  dreamer export runs/swingup-1 --out swingup.pt
  dreamer bench --preset paper --json bench.json
  dreamer doctor --preset paper

`dreamer COMMAND --help` lists the options of a command.
"""


@dataclass(frozen=True)
class Train:
    """Learn a task, from the first random episode to the last evaluation.

    Ctrl-C saves a checkpoint; the same command goes on from it.

    Examples: `dreamer train --env dmc:walker_stand`, `dreamer train --env gym:my_module:MyEnv-v0`.
    """

    preset: PresetName = "auto"
    """Starting point of all options; `auto` is `paper` with a GPU, else `laptop`."""
    logdir: Path | None = None
    """Directory of the run; the default is made of environment, preset and seed, under `runs/`."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


@dataclass(frozen=True)
class Bench:
    """Measure what a run with these options costs here.

    That is a gradient step in total and by part, a decision of agent and environment, a batch from the
    replay, and training end to end; with quartiles, and the floor that follows from counted operations and
    the speed of this machine's matrix products. With a baseline it ends with status 1 if any figure has
    become worse by more than the tolerance.

    Examples: `dreamer bench --preset paper --json bench.json`, `dreamer bench --baseline bench.json`.
    """

    preset: PresetName = "auto"
    """Starting point of all options; `auto` is `paper` with a GPU, else `laptop`."""
    json: Path | None = None
    """File for all figures."""
    baseline: Path | None = None
    """File of an earlier measurement, to compare with."""
    tolerance: float = 1.3
    """With a baseline: how many times worse a figure may be."""
    repeats: int = 10
    """Least number of measurements of each figure, after a warm-up."""
    rounds: int = 5
    """Rounds of collection and updates in the stretch of training."""
    precisions: tuple[Precision, ...] = ()
    """Precisions to measure one after the other; without any, the run's own."""
    only: tuple[Subject, ...] = ()
    """What to measure; without any, everything."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


@dataclass(frozen=True)
class Doctor:
    """Check whether this machine is fit for a run with these options, and predict what it would cost.

    That is graphics, device, precision, memory and disk, then the hours from a few measured seconds. Nothing
    is written. It ends with status 1 if something stands in the way.

    Examples: `dreamer doctor --preset paper`, `dreamer doctor --env gym:my_module:MyEnv-v0`.
    """

    preset: PresetName = "auto"
    """Starting point of all options; `auto` is `paper` with a GPU, else `laptop`."""
    logdir: Path | None = None
    """Directory that the run would have: its disk is looked at."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


Options = TypeVar("Options", Train, Bench, Doctor)


def train(arguments: list[str]) -> int:
    """`dreamer train`: returns 0 when the run is complete, also when it was asked to stop before."""
    options = _run_options(arguments, "dreamer train", Train)
    config, logdir = options.config, _logdir(options)
    from dreamer.training.distributed import follow, joined  # networks load only when they are needed

    with joined(config) as ranks:
        if ranks.leads:
            _train(config, logdir, ranks)
        else:
            follow(config, ranks)
    return 0


def _train(config: Config, logdir: Path, ranks: Ranks) -> None:
    from dreamer.training.trainer import Trainer

    trainer = Trainer(config, logdir, ranks)
    try:
        print(f"{'Resuming' if trainer.resumed else 'Training'} {config.environment.env} in {logdir}")
        complete = trainer.run()
    finally:
        trainer.close()
    env_step = f"{trainer.counters.env_step:,} frames"
    if complete:
        print(f"Done after {env_step}. Look at it: dreamer dream {logdir}; dreamer plot {logdir}")
    else:
        saved = logdir / "checkpoint"
        print(f"Stopped after {env_step}; saved in {saved}. The same command goes on from there.")


def _run_options(arguments: list[str], prog: str, kind: type[Options]) -> Options:
    """Read the options of a run; the preset, read first, sets the defaults of all others for the task."""
    _refuse_renamed(arguments)
    name = _value_of("--preset", arguments) or "auto"
    start = preset(name, _value_of("--env", arguments) or "")
    default = kind(preset=name, config=start)  # pyright: ignore[reportArgumentType]
    options = tyro.cli(tyro.conf.OmitArgPrefixes[kind], args=arguments, default=default, prog=prog)
    check(options.config)
    from dreamer.envs.action_repeat import resolve  # simulators load only when they are needed

    return replace(options, config=resolve(options.config))


def _refuse_renamed(arguments: list[str]) -> None:
    """Raise `UserError` for an option of an earlier version: its new name helps more than a list of all."""
    for argument in arguments:
        name = argument.split("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if argument.startswith("--") and name in RENAMED:
            raise UserError(f"{flag(name)} is now {flag(RENAMED[name])}: see --help.")


def _logdir(options: Train | Doctor) -> Path:
    config = options.config
    env = config.environment.env.replace(":", "-").replace("/", "-")
    name = f"{env}-{options.preset}-{config.behavior.agent}-{config.training.seed}"
    return options.logdir or Path("runs") / name


def evaluate(
    run: RunPath, episodes: int = 10, seed: int = 0, video: Path | None = None, device: Device = "auto"
) -> None:
    """Play whole episodes with the deterministic policy, in fresh environments.

    The last line printed is one JSON object: mean, std, returns, env_step.

    Examples: `dreamer eval runs/swingup-1`, `dreamer eval runs/swingup-1 --episodes 1 --video swingup.mp4`.

    Args:
        run: A run directory.
        episodes: How many to play.
        seed: Of the episodes' beginnings.
        video: File for a film of the first episode (.mp4 or .gif).
        device: auto, cpu or cuda.
    """
    from dreamer.training import video as videos
    from dreamer.training.evaluate import evaluate as play
    from dreamer.training.load import load_run

    _check_at_least(1, "--episodes", episodes)
    _check_at_least(0, "--seed", seed)
    if video is not None:
        videos.check_film(video)
    trained = load_run(run, device=device)
    with closing(trained.envs):
        if video is not None and not trained.envs.spec.images:
            raise UserError("This agent sees no images, so there is nothing to film: leave --video out.")
        result = play(trained.agent, trained.envs, episodes, seed, record=video is not None)
    record = {"mean": result.mean, "std": result.std, "returns": result.returns, "env_step": trained.env_step}
    print(json.dumps(record))  # before the film, which may fail where the disk is full
    if video is not None and result.frames is not None:
        videos.write_video(video, videos.enlarge(result.frames, 4))


def dream(
    run: RunPath,
    out: Path | None = None,
    sequences: int = 6,
    length: int = 50,
    context: int = 5,
    seed: int = 0,
) -> None:
    """Predict with the eyes shut: a few pictures are seen, the rest is dreamt from the true actions.

    Writes a video (truth, dream, error), a picture of the first sequence, and the error by horizon as JSON,
    which is also the last line printed.

    Examples: `dreamer dream runs/swingup-1`, `dreamer dream runs/swingup-1 --out dream.gif --context 20`.

    Args:
        run: A run directory.
        out: Video to write (.mp4 or .gif); picture and JSON go beside it. The default is
            RUN/videos/dream.mp4.
        sequences: Windows of past episodes to predict.
        length: Steps of each, all within one episode; at most those of the longest episode.
        context: Steps the model sees first.
        seed: Chooses the windows.
    """
    from dreamer.replay.atomic_file import atomic_file
    from dreamer.training import video
    from dreamer.training.dream import dream as predict
    from dreamer.training.load import load_run

    if not 0 < context < length:
        raise UserError(f"--context must lie between 0 and --length, got {context} and {length}.")
    _check_at_least(1, "--sequences", sequences)
    _check_at_least(0, "--seed", seed)
    out = out or run / "videos" / "dream.mp4"
    video.check_film(out)
    trained = load_run(run)
    trained.envs.close()
    result = predict(trained.agent, trained.episodes(), seed, sequences, length, context)
    video.write_video(out, video.annotated(result.truth, result.model, result.context))
    every = max(1, result.truth.shape[1] // 10)
    strip = video.filmstrip(result.truth[0], result.model[0], every, result.context)
    video.write_picture(out.with_suffix(".png"), strip)
    errors = {
        "env_step": trained.env_step,
        **video.error_by_horizon(result.truth, result.model, result.context),
    }
    with atomic_file(out.with_suffix(".json")) as file:
        file.write((json.dumps(errors) + "\n").encode())
    print(f"Wrote {out}, {out.with_suffix('.png')} and {out.with_suffix('.json')}")
    print(json.dumps(errors))


def plot(runs: Annotated[list[Path], tyro.conf.Positional], out: Path = Path("curve.png")) -> None:
    """Draw learning curves of one or more runs over the published curves of the same tasks.

    Examples: `dreamer plot runs/swingup-1`, `dreamer plot runs/swingup-* --out swingup.pdf`.

    Args:
        runs: Run directories.
        out: Picture to write (.png, .svg or .pdf).
    """
    from dreamer.results.plot import plot_runs

    plot_runs(runs, out)
    print(f"Wrote {out}")


def report(runs: Annotated[list[Path], tyro.conf.Positional], out: Path = Path("report")) -> None:
    """Write a page with curves, scores, aggregates and videos of runs, beside the published ones.

    The page is `index.html` in --out, which opens from disk; videos lie beside it. What cannot be read is
    named, the rest is drawn.

    Examples: `dreamer report runs/swingup-*`, `dreamer report runs/sweep --out report`,
    `dreamer report docs/results/scores/dreamer_laptop.csv --out report`.

    Args:
        runs: Run directories, directories of runs (sweeps), or scores files (METHOD.csv).
        out: Directory to write the page in.
    """
    from dreamer.report.page import write_report

    written = write_report(runs, out)
    for note in written.notes:
        print(f"dreamer: {note}", file=sys.stderr)
    print(f"Wrote {written.page}")


def export(run: RunPath, out: Path = Path("policy.pt")) -> None:
    """Write a trained policy as one file, for `dreamer.load_policy`, which needs torch and numpy alone.

    Example: `dreamer export runs/swingup-1 --out swingup.pt`.

    Args:
        run: A run directory.
        out: File to write.
    """
    from dreamer.training.export import export_run

    export_run(run, out)
    print(f"Wrote {out}")


def doctor(arguments: list[str]) -> int:
    """`dreamer doctor`: returns 0 if nothing stands in the way of a run with these options, else 1."""
    from dreamer.results.doctor import print_checks, run_checks

    options = _run_options(arguments, "dreamer doctor", Doctor)
    checks = run_checks(options.config, _logdir(options))
    print_checks(checks)
    return 0 if all(check.ok for check in checks) else 1


def bench(arguments: list[str]) -> int:
    """`dreamer bench`: returns 1 if a figure is worse than the baseline tolerates, else 0."""
    options = _run_options(arguments, "dreamer bench", Bench)
    _check_at_least(1, "--repeats", options.repeats)
    _check_at_least(2, "--rounds", options.rounds)
    if options.tolerance < 1:
        raise UserError(f"--tolerance must be at least 1, got {options.tolerance}.")
    from dreamer.bench import baseline as baselines
    from dreamer.bench.bench import SUBJECTS, Extent, run_bench
    from dreamer.bench.report import Report, print_report

    baseline = Report.read(options.baseline) if options.baseline else None
    extent = Extent(options.repeats, options.rounds, options.precisions, options.only or SUBJECTS)
    report = run_bench(options.config, extent, options.json)
    if options.json:
        report.write(options.json)
    ratios = baselines.slowdowns(report, baseline) if baseline else {}
    print_report(report, ratios)
    for difference in baselines.other_machine(report, baseline) if baseline else []:
        print(f"Not the baseline's machine: {difference}.")
    worse = baselines.regression(ratios, options.tolerance)
    if worse:
        print(f"dreamer: {worse}", file=sys.stderr)
    return 1 if worse else 0


WITH_RUN_OPTIONS: dict[str, Callable[[list[str]], int]] = {"train": train, "bench": bench, "doctor": doctor}
COMMANDS: dict[str, Callable[..., None]] = {
    "eval": evaluate,
    "dream": dream,
    "plot": plot,
    "report": report,
    "export": export,
}


def main() -> None:
    """Entry point of the console command."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # `gym:my_module:MyEnv-v0` finds my_module.py where the user stands; last, so that a random.py there does
    # not stand in for the one that everything else means.
    sys.path.append(str(Path.cwd()))
    try:
        status = _dispatch(sys.argv[1:])
    except UserError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # `dreamer ... | head` has seen enough
        discard(sys.stdout)
        status = 128 + signal.SIGPIPE
    leave(status)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name in WITH_RUN_OPTIONS:
        return WITH_RUN_OPTIONS[name](rest)
    if name not in COMMANDS:
        known = ", ".join([*WITH_RUN_OPTIONS, *COMMANDS])
        raise UserError(f"There is no command {name!r}; there are {known}.")
    tyro.cli(COMMANDS[name], args=rest, prog=f"dreamer {name}")
    return 0


def _value_of(option: str, arguments: list[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(option + "="):
            return argument.split("=", 1)[1]
    return None


def _check_at_least(least: int, option: str, value: int) -> None:
    if value < least:
        raise UserError(f"{option} must be at least {least}, got {value}.")
