"""What the command line does, from Python: train a run, and export its policy."""

from contextlib import closing
from pathlib import Path
from typing import Any

from dreamer.config import RENAMED, check, to_flat, with_options
from dreamer.envs.action_repeat import resolve
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.presets import preset as preset_named
from dreamer.training.make import make_trainer


def train(logdir: str | Path, preset: str = "auto", **options: Any) -> bool:
    """Train in `logdir`, or go on there, as `dreamer train` does: `train("runs/dot", env="toy:dot", seed=1)`.

    `options` are those of `dreamer train --help`, with underscores (`batch_size=16`; `lambda_`). Returns
    whether the run is complete: Ctrl-C saves a checkpoint and stops. Raises `UserError` wherever the command
    would end with a sentence.
    """
    config = preset_named(preset, options.get("env", ""), options.get("agent", ""))
    if unknown := options.keys() - to_flat(config).keys():
        name = min(unknown)
        hint = f"it is now {RENAMED[name]!r}" if name in RENAMED else "`dreamer train --help` lists them"
        raise UserError(f"There is no option {name!r}: {hint}.")
    config = with_options(config, options)
    check(config)
    with closing(make_trainer(resolve(config), Path(logdir))) as trainer:
        return trainer.run()


def export_policy(run: str | Path, out: str | Path) -> None:
    """Write the policy of a run as one file for `load_policy`, as `dreamer export` does."""
    export_run(Path(run), Path(out))
