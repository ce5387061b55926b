"""A run so small that everything in it is measured in moments."""

from typing import Any

from dreamer.config import Config, with_options
from dreamer.presets import debug

SMALL = {
    "batch_size": 2,
    "batch_length": 3,
    "horizon": 2,
    "image_size": 32,
    "time_limit": 20,
    "plan_candidates": 20,
    "plan_elites": 5,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
}


def config(**options: Any) -> Config:
    return with_options(debug(), SMALL | options)
