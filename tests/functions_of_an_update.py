"""Count the project's functions that one plain update of the preset `debug` passes, and the files they are in.

`PYTHONPATH=src:tests python tests/functions_of_an_update.py` lists them for docs/algorithm.md. Functions that only log
the update (`logs/`) are left out, and so are those without a name.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import dreamer
from dreamer.config import with_options
from dreamer.presets import debug
from dreamer.training.trainer import Trainer
from helpers import learner

ROOT = Path(dreamer.__file__).parent
PLAIN = {"env": "toy:dot", "time_limit": 50, "prefill": 50, "train_steps": 1, "fast": False, "device": "cpu"}


def functions(call: Callable[[], Any]) -> dict[str, list[str]]:
    """Names of the project's functions that `call` passes, in order, by file."""
    found: dict[str, list[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_qualname
        if (
            event == "call"
            and path.is_relative_to(ROOT)
            and "<" not in frame.f_code.co_name
            and not logs(frame)
        ):
            names = found.setdefault(str(path.relative_to(ROOT)), [])
            if name not in names:
                names.append(name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def logs(frame: FrameType | None) -> bool:
    """Whether a function is one of `logs`, or was called by one."""
    return frame is not None and (str(ROOT / "logs") in frame.f_code.co_filename or logs(frame.f_back))


def count() -> dict[str, dict[str, list[str]]]:
    """Functions of one gradient step (Algorithm 1, lines 6 to 12), and those with loop and replay (lines 4 to 12)."""
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(with_options(debug(), PLAIN), Path(directory))
        try:
            while trainer.rounds.start is None:
                trainer._interact()
            trainer.feed.sampler.sample(
                np.random.default_rng(0)
            )  # when it is first read, an episode is checked
            loop = functions(trainer._learn)
            batch = next(iter(trainer.feed.iterate(trainer.replay_rng, 1)))
            noise = trainer.agent.draw_noise(*batch["reward"].shape)
            step = functions(lambda: learner(trainer.agent).update(batch, noise))
        finally:
            trainer.close()
    return {"gradient step": step, "with loop and replay": loop}


if __name__ == "__main__":
    for title, found in count().items():
        lines = [f"  {path}: {', '.join(names)}" for path, names in found.items()]
        total = f"{title}: {sum(map(len, found.values()))} functions in {len(found)} files"
        sys.stdout.write("\n".join([total, *lines, ""]))
