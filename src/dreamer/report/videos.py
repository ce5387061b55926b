"""Copy the videos of a report: evaluations, and open-loop predictions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dreamer.errors import writing
from dreamer.results.curves import Run
from dreamer.results.inputs import Method
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import read_regular

FOLDER = "videos"
KINDS = {"evaluation": "evaluation", "open_loop": "open-loop prediction"}
ENDINGS = (".mp4", ".gif")


@dataclass(frozen=True)
class Video:
    """A video of a run at `frames`, copied to `path`, which is relative to the page."""

    path: str
    kind: str
    title: str
    task: str
    method: str
    seed: int
    frames: int

    @property
    def run(self) -> str:
        """Name of the run, which its videos have in common."""
        return f"{self.method} {self.task}"

    @property
    def is_picture(self) -> bool:
        return self.path.endswith(".gif")


def copy_videos(methods: Sequence[Method], out: Path) -> list[Video]:
    """Copy the newest videos of one seed for each task into `out/videos`.

    The seed is that of `median_run`, so that neither the best nor the worst is shown.

    Raises:
        UserError: The disk refuses.
    """
    videos = []
    for method in methods:
        for task, runs in method.by_task().items():
            run = median_run(runs)
            for kind, title in KINDS.items():
                film = newest(run.path / FOLDER, kind)
                if film is not None:
                    name = _file_name(f"{method.name}-{task}-{run.seed}-{kind}") + film.suffix
                    _copy(film, out / FOLDER / name)
                    frames = _frames(film)
                    videos.append(Video(f"{FOLDER}/{name}", kind, title, task, method.name, run.seed, frames))
    return videos


def median_run(runs: Sequence[Run]) -> Run:
    """Return the run whose last evaluation is the median. For an even number it is the lower of the two."""
    order = np.argsort([run.mean[-1] for run in runs], kind="stable")
    return runs[order[(len(runs) - 1) // 2]]


def newest(folder: Path, kind: str) -> Path | None:
    """Return the video of a kind with the highest frame in its name (`evaluation-000050000.mp4`)."""
    files = [path for path in folder.glob(f"{kind}-*") if path.suffix in ENDINGS and path.is_file()]
    films = [path for path in files if _frames(path) >= 0]
    return max(films, key=_frames, default=None)


def _frames(film: Path) -> int:
    digits = re.search(r"-(\d+)$", film.stem)
    return int(digits[1]) if digits else -1


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)


def _copy(film: Path, to: Path) -> None:
    with writing(to, "choose another --out"):
        to.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(to) as file:
        file.write(read_regular(film))
