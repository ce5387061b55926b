"""What the command line does, from Python: train a run, look at it, and export its policy."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from dreamer.config import OWNERS, RENAMED, check, to_flat, with_options
from dreamer.envs.action_repeat import resolve
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.logs import open_loop
from dreamer.logs.open_loop import Prediction
from dreamer.logs.video import check_format
from dreamer.presets import preset as preset_named
from dreamer.ray_cluster import with_actors
from dreamer.replay.store import EpisodeStore
from dreamer.results import curves
from dreamer.storage.config_file import FILE, read_config
from dreamer.storage.load import load_run
from dreamer.training.evaluate import Evaluation
from dreamer.training.evaluate import evaluate as play
from dreamer.training.make import make_trainer

Device = Literal["auto", "cpu", "cuda"]


def train(logdir: str | Path, preset: str | None = None, ray: str | None = None, **options: Any) -> bool:
    """Train in `logdir`, or go on there, as `dreamer train` does: `train("runs/dot", env="toy:dot", seed=1)`.

    `options` are those of `dreamer train --help`, with underscores (`batch_size=16`; `lambda_`). All others are those
    of the `preset` or, without one, of the run that is there; a new run takes `auto`. Returns whether the run is
    complete: Ctrl-C saves a checkpoint and stops, if this is the main thread. Raises `UserError` wherever the command
    would end with a sentence. `ray` is the address of a cluster for the actors of D4PG.
    """
    saved = Path(logdir) / FILE
    if preset is None and saved.is_file():
        config = read_config(saved)
    else:
        config = preset_named(preset or "auto", options.get("env", ""), options.get("agent", ""))
    if unknown := options.keys() - to_flat(config).keys():
        name = min(unknown)
        hint = f"it is now {RENAMED[name]!r}" if name in RENAMED else "`dreamer train --help` lists them"
        hint = f"it belongs to agent={OWNERS[name]!r}" if name in OWNERS else hint
        raise UserError(f"There is no option {name!r}: {hint}.")
    config = with_options(config, options)
    config = config if ray is None else with_actors(config)
    check(config)
    with closing(make_trainer(resolve(config), Path(logdir), ray=ray)) as trainer:
        return trainer.run()


def evaluate(
    run: str | Path, episodes: int = 10, seed: int = 0, images: bool = False, device: Device = "auto"
) -> Evaluation:
    """Play whole episodes with the policy of a run, as `dreamer eval` does: `evaluate("runs/dot").mean`.

    With `images` the result has those of the first episode, as the agent sees them. Raises `UserError` if there is no
    checkpoint, if the environment cannot be made, or if the agent sees no images.
    """
    _at_least(1, "--episodes", episodes)
    _at_least(0, "--seed", seed)
    trained = load_run(Path(run), device=device)
    if images and not trained.agent.spec.images:
        raise UserError(
            "This agent sees no images, so there is nothing to show: leave --video out, or images=True."
        )
    with closing(trained.make_envs()) as envs:
        result = play(trained.agent, envs, episodes, seed, images)
    return replace(result, env_step=trained.env_step)


def dream(
    run: str | Path,
    out: str | Path | None = None,
    sequences: int = 6,
    length: int = 50,
    context: int = 5,
    seed: int = 0,
) -> Prediction:
    """Predict past episodes from their first `context` images and the actions, as `dreamer dream` does.

    With `out` it writes the same files: a video (.mp4 or .gif), with an image and the errors as JSON beside it.
    Raises `UserError` if the agent cannot predict images, or if all episodes are too short.
    """
    if not 0 < context < length:
        raise UserError(f"--context must lie between 0 and --length, got {context} and {length}.")
    _at_least(1, "--sequences", sequences)
    _at_least(0, "--seed", seed)
    if out is not None:
        check_format(Path(out))
    trained = load_run(Path(run))
    open_loop.check_agent(trained.agent)
    episodes = EpisodeStore(trained.directory.replay, mode="r")
    prediction = open_loop.predict(trained.agent, episodes, seed, sequences, length, context)
    if out is not None:
        open_loop.write(prediction, trained.env_step, Path(out))
    return prediction


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's `metrics.jsonl`, each a dictionary: `pandas.DataFrame(read_metrics("runs/dot"))`.

    Lines have different keys; docs/metrics.md says which. Values that were not finite are None. Raises `UserError` if
    there is no such file, or if it is damaged.
    """
    return curves.read_metrics(Path(run))


def export_policy(run: str | Path, out: str | Path) -> None:
    """Write the policy of a run as one file for `load_policy`, as `dreamer export` does."""
    export_run(Path(run), Path(out))


def _at_least(least: int, option: str, value: int) -> None:
    """Raise `UserError` for a number below the `least` that an option may have."""
    if value < least:
        raise UserError(f"{option} must be at least {least}, got {value}.")
