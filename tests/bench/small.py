"""A run so small that everything in it is measured in moments."""

from typing import Any

import torch

from dreamer.bench.measurement import Timer
from dreamer.config import Config, with_options
from dreamer.presets import debug

SMALL: dict[str, Any] = {
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
TIMER = Timer(torch.device("cpu"), repeats=1, precision="float32", flops_per_s=1e12)


def small_run(**options: Any) -> Config:
    """The preset `debug` with even smaller sizes."""
    return with_options(debug(), SMALL | options)
