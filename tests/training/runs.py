"""Short runs in this process: started, stopped where a test wants it, and looked at."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dreamer.config import Config, with_options
from dreamer.presets import debug
from dreamer.training.trainer import Trainer

Stop = tuple[str, int]
"""A method of the trainer, and the number of its call after which a request to stop comes in."""


def config(**options: Any) -> Config:
    """A run of 600 frames of `toy:dot`: 12 episodes of 50 frames, the first 4 at random, two evaluations."""
    short = {
        "steps": 600,
        "time_limit": 50,
        "image_size": 32,
        "prefill": 200,
        "train_every": 100,
        "train_steps": 4,
        "eval_every": 300,
        "checkpoint_every": 300,
        "video_every": 0,
        "batch_length": 8,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
    }
    return with_options(debug(), short | options)


def call_after(target: Any, method: str, calls: int, then: Callable[[], object]) -> None:
    """Call `then` once, when `method` of a trainer, or of a part of it, has been called `calls` times."""
    original, count = getattr(target, method), itertools.count(1)

    def counted(*args: Any) -> Any:
        result = original(*args)
        if next(count) == calls:
            then()
        return result

    setattr(target, method, counted)


def run(settings: Config, logdir: Path, stop: Stop | None = None) -> Trainer:
    """Train until the end or the stop; the trainer is closed, but can be looked at."""
    trainer = Trainer(settings, logdir)
    if stop is not None:
        call_after(trainer, *stop, lambda: setattr(trainer.interrupt, "requested", True))
    try:
        complete = trainer.run()
    finally:
        trainer.close()
    assert complete == (stop is None)
    return trainer


def everything(trainer: Trainer) -> dict[str, Any]:
    """All that a run is, but the time it took: its state and the content of its episodes."""
    state = without_times(trainer.state_dict())
    return state | {"files": tree(trainer.run_directory.replay), "weights": weights(trainer)}


def without_times(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without what differs each time; lines with times in them differ in length."""
    del state["logger"]["record"], state["logger"]["tensorboard"], state["counters"]["seconds"]
    return state


def weights(trainer: Trainer) -> dict[str, Any]:
    """Everything that learns, and the random state of updates."""
    return trainer.agent.state_dict()


def same(one: Any, other: Any) -> bool:
    """Whether two nests of dicts, lists and tensors are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def metrics(logdir: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` without the times."""
    lines = map(json.loads, (logdir / "metrics.jsonl").read_text().splitlines())
    return [
        {k: x for k, x in line.items() if k != "seconds" and not k.startswith(("time/", "memory/"))}
        for line in lines
    ]


def tree(directory: Path) -> dict[str, str]:
    """Every file and folder below `directory`, with a digest of its content."""
    return {
        str(path.relative_to(directory)): ""
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
    }
