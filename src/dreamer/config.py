"""Every setting of a run: frozen dataclasses, one per part, and the presets.

Option names are flat on the command line (`--horizon 15`), so a field name is unique over all parts.
Defaults are the published hyperparameters (paper, Appendix A) in the reading of the official TF2 code.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class EnvConfig:
    """The environment and what the agent sees of it (paper, Section 6)."""

    env: str = "dmc:walker_walk"
    """Task: `dmc:<domain>_<task>` (Control Suite) or `gym:<id>` (any registered Gymnasium id)."""
    obs: Literal["image", "state"] = "image"
    """What the agent sees: camera images, or the environment's state vector."""
    image_size: int = 64
    """Height and width of the images, in pixels."""
    action_repeat: int = 2
    """Simulator frames per decision; rewards are summed, one image is rendered."""
    time_limit: int = 1000
    """Frames after which an episode is cut off (with discount 1)."""
    render: Literal["canonical", "fast"] = "canonical"
    """`canonical`: the suite's own pictures. `fast`: no shadows, reflections and multisampling."""
    camera: int = -1
    """Camera of a Control Suite task; -1 takes 0, and 2 for the quadruped."""
    num_envs: int = 1
    """Environments that collect side by side, each in its own process when more than one."""
    worker_timeout: float = 120.0
    """Seconds after which a silent environment process counts as hung."""


@dataclass(frozen=True)
class ReplayConfig:
    """The dataset of past episodes."""

    batch_size: int = 50
    """Sequences per batch (B)."""
    batch_length: int = 50
    """Steps per sequence (L)."""
    capacity: int = 0
    """Most decisions kept on disk, oldest episodes out first; 0 keeps all."""
