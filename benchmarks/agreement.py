"""Compare the fast ways of a gradient step with the reference, eager in float32, at a preset's sizes.

    python benchmarks/agreement.py --preset paper

Each line printed is one comparison as JSON; the exit status is 1 if any is further off than its tolerance.
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
    spec, good = EnvSpec({"image": (side, side, 3)}, {}, ActionSpec(6)), True
    for found in compare_paths(spec, config, options.updates):
        print(json.dumps(found.as_json()), flush=True)
        good &= found.good
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
