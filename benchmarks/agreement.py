"""Compare the fast ways of a gradient step with the reference, eager in float32, at a preset's sizes.

    python benchmarks/agreement.py --preset paper

The last line printed is a JSON list; the exit status is 1 if any way is further off than its tolerance.
"""

import json
from dataclasses import dataclass

import tyro

from dreamer.bench.agreement import compare_paths
from dreamer.config import with_options
from dreamer.presets import preset
from dreamer.spec import ActionSpec, EnvSpec


@dataclass(frozen=True)
class Options:
    """Agreement of the fast ways with the reference."""

    preset: str = "paper"
    """Sizes of networks and batches."""
    options: str = "{}"
    """Further options of a run, as JSON."""
    updates: int = 3
    """Updates after which weights are compared."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    config = with_options(preset(options.preset), json.loads(options.options))
    side = config.environment.image_size
    found = compare_paths(EnvSpec({"image": (side, side, 3)}, {}, ActionSpec(6)), config, options.updates)
    print(json.dumps([agreement.as_json() for agreement in found]))
    raise SystemExit(not all(agreement.good for agreement in found))


if __name__ == "__main__":
    main()
