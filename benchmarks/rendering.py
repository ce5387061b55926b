"""Measure the two rendering qualities: milliseconds per picture, and how far the pictures are apart.

    python benchmarks/rendering.py --picture docs/images/rendering.png

Prints the table of docs/rendering.md and, if asked, draws the picture beside it.
"""

import argparse
import os
import time
from dataclasses import dataclass
from typing import Literal

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

from dreamer.config import EnvConfig
from dreamer.envs import make_env, spec_of
from dreamer.envs.rendering import find_backend

TASKS = ("cartpole_swingup", "walker_walk", "cheetah_run", "cup_catch", "finger_spin", "quadruped_walk")
STATES = 10
"""States of an episode, five decisions apart, in which both qualities are compared."""


@dataclass(frozen=True)
class Quality:
    """Pictures of one task in one quality."""

    images: np.ndarray
    """`(STATES, 64, 64, 3)`, of the same states in each quality."""
    milliseconds: float
    """Median time of one picture."""


def measure(task: str, quality: Literal["canonical", "fast"]) -> Quality:
    """Draw and time pictures of a seeded episode; the first, which sets OpenGL up, is not timed."""
    env = make_env(EnvConfig(env=f"dmc:{task}", render=quality))
    generator = np.random.default_rng(0)
    images, seconds = [env.reset(seed=0)[0]["image"]], []
    for _ in range(STATES - 1):
        images.append(advance(env, generator))
        start = time.perf_counter()
        env.render()
        seconds.append(time.perf_counter() - start)
    env.close()
    return Quality(np.stack(images), 1e3 * float(np.median(seconds)))


def advance(env: gym.Env, generator: np.random.Generator) -> np.ndarray:
    """Take five random decisions; return the last picture."""
    size = spec_of(env).action.size
    for _ in range(5):
        observation, *_ = env.step(generator.uniform(-1, 1, size).astype(np.float32))
    return observation["image"]


def physics_milliseconds(task: str) -> float:
    """Mean time of one decision without a picture."""
    env = make_env(EnvConfig(env=f"dmc:{task}", obs="state"))
    generator = np.random.default_rng(0)
    size = spec_of(env).action.size
    env.reset(seed=0)
    start = time.perf_counter()
    for _ in range(100):
        env.step(generator.uniform(-1, 1, size).astype(np.float32))
    return 10 * (time.perf_counter() - start)


def draw(pairs: dict[str, tuple[Quality, Quality]], path: str) -> None:
    """Draw the last state of each task, canonical above and fast below."""
    figure, axes = plt.subplots(2, len(pairs), figsize=(2 * len(pairs), 4.2), layout="constrained")
    for column, (task, qualities) in zip(axes.T, pairs.items(), strict=True):
        for axis, quality in zip(column, qualities, strict=True):
            axis.imshow(quality.images[-1], interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        column[0].set_title(task, fontsize=10)
    axes[0, 0].set_ylabel("canonical")
    axes[1, 0].set_ylabel("fast")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", help="where to draw both qualities side by side")
    options = parser.parse_args()
    print(f"{find_backend()}, {os.cpu_count()} cores\n")
    print("| task | canonical, ms | fast, ms | mean difference of 255 | physics of a decision, ms |")
    print("|---|---:|---:|---:|---:|")
    pairs = {}
    for task in TASKS:
        canonical, fast = pairs[task] = measure(task, "canonical"), measure(task, "fast")
        difference = np.abs(canonical.images.astype(int) - fast.images).mean()
        times = f"{canonical.milliseconds:.1f} | {fast.milliseconds:.2f}"
        print(f"| `{task}` | {times} | {difference:.1f} | {physics_milliseconds(task):.2f} |")
    if options.picture:
        draw(pairs, options.picture)


if __name__ == "__main__":
    main()
