"""Commands that use what a run has learned."""

import contextlib
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dreamer.errors import UserError

if TYPE_CHECKING:
    from dreamer.config import EnvConfig
    from dreamer.training.evaluate import Evaluation

Device = Literal["auto", "cpu", "cuda"]
RunPath = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[list[Path], tyro.conf.Positional]


def evaluate(
    run: RunPath, episodes: int = 10, seed: int = 0, video: Path | None = None, device: Device = "auto"
) -> None:
    """Play whole episodes with the deterministic policy, in fresh environments.

    The last line printed is one JSON object: mean, std, returns, env_step. The video shows the first episode as the
    simulator draws it, at its own speed, also if the agent sees no images.

    Examples: `dreamer eval runs/swingup-1`, `dreamer eval runs/swingup-1 --episodes 1 --video swingup.mp4`.

    Args:
        run: A run directory.
        episodes: How many to play.
        seed: Decides how the episodes begin.
        video: File for a video of the first episode (.mp4 or .gif).
        device: Where the networks run.
    """
    from dreamer.api import evaluate as play

    drawn = video is not None and _can_be_drawn(run, video)
    result = play(run, episodes, seed, video is not None and not drawn, device)
    print(
        f"Mean return {result.mean:.1f}, standard deviation {result.std:.1f}, {min(result.returns):.1f} to"
        f" {max(result.returns):.1f} in {episodes} episode{'s' * (episodes > 1)}, after {result.env_step:,} frames"
    )
    scores = {"mean": result.mean, "std": result.std, "returns": result.returns, "env_step": result.env_step}
    print(json.dumps(scores), flush=True)  # before the video, which may fail if the disk is full
    if video is not None:
        _film(run, result, video, drawn)


def _can_be_drawn(run: Path, video: Path) -> bool:
    """Whether the simulator draws pictures; if not, a video can show only what the agent sees.

    Raises `UserError` if no video can be written, before anything is played.
    """
    from dreamer.envs.stage import Stage
    from dreamer.logs.video import check_format

    check_format(video)
    environment = _environment(run)
    with contextlib.suppress(UserError), closing(Stage(environment)):
        return True
    return False


def _film(run: Path, result: "Evaluation", video: Path, drawn: bool) -> None:
    """Write a video of the first episode of an evaluation: as the simulator draws it, or as the agent saw it."""
    from dreamer.envs.stage import SIZE, Stage
    from dreamer.logs.video import enlarge, three_channels, write_video

    assert result.first is not None
    if not drawn:
        assert result.images is not None
        write_video(video, enlarge(result.images, 4))
        return
    with closing(Stage(_environment(run))) as stage:
        pictures, total = stage.play(*result.first)
    pictures = enlarge(three_channels(pictures), max(1, SIZE // pictures.shape[1]))
    write_video(video, pictures, stage.frames_per_second)
    if abs(total - result.returns[0]) > 1e-3 * (1 + abs(total)):
        print(
            f"dreamer: {video} shows another episode, with a return of {total:.1f}: this environment does not repeat"
            " itself from the same seed and actions.",
            file=sys.stderr,
        )


def _environment(run: Path) -> "EnvConfig":
    from dreamer.config import evaluated
    from dreamer.storage.run_directory import RunDirectory

    return evaluated(RunDirectory(run).config().environment)


def dream(
    run: RunPath,
    out: Path | None = None,
    sequences: int = 6,
    length: int = 50,
    context: int = 5,
    seed: int = 0,
) -> None:
    """Open-loop prediction: see `--context` images of past episodes, then predict from the recorded actions.

    Writes a video (truth, model, error), an image of the first sequence, and the error by horizon as JSON,
    which is also the last line printed.

    Examples: `dreamer dream runs/swingup-1`, `dreamer dream runs/swingup-1 --out dream.gif --context 20`.

    Args:
        run: A run directory.
        out: Video to write (.mp4 or .gif), with image and JSON beside it; by default RUN/videos/dream.mp4.
        sequences: Windows of past episodes to predict.
        length: Steps of each, all within one episode; at most those of the longest episode.
        context: Steps that the model sees first.
        seed: Chooses the windows.
    """
    from dreamer.api import dream as predict

    out = out or run / "videos" / "dream.mp4"
    predict(run, out, sequences, length, context, seed)
    print(f"Wrote {out}, {out.with_suffix('.png')} and {out.with_suffix('.json')}")
    print(out.with_suffix(".json").read_text(), end="")


def export(run: RunPath, out: Path = Path("policy.pt")) -> None:
    """Write a trained policy as one file: for `dreamer.load_policy`, or as ONNX, for any other program.

    Neither needs a simulator, and ONNX needs no PyTorch.

    Examples: `dreamer export runs/swingup-1 --out swingup.pt`, `dreamer export runs/swingup-1 --out swingup.onnx`.

    Args:
        run: A run directory.
        out: File to write; ONNX if its name ends in .onnx, and half as large if it ends in .xz.
    """
    from dreamer.export.export import export_run

    export_run(run, out)
    print(f"Wrote {out}")


def view(runs: Paths, out: Path = Path("dream.html")) -> None:
    """Write a page on which you steer inside the dream of trained world models, in any browser.

    It opens from disk, without a server and without a network: models, recorded images and the runtime are in it.

    Examples: `dreamer view runs/swingup-1`, `dreamer view runs/walker-0 runs/cartpole-0 --out dreams.html`.

    Args:
        runs: Run directories.
        out: Page to write.
    """
    from dreamer.view.page import write_view

    size = write_view(runs, out).stat().st_size
    print(f"Wrote {out} ({size / 1e6:.1f} MB): open it in a browser.")


def verify(paths: Paths) -> int:
    """Check the files of runs, each as a whole: config, checkpoints, record and episodes; or exported policies.

    A line says of each whether it is sound, or why a run would refuse it or do without it: it is damaged, or of another
    version. Nothing is changed. The exit status is 1 unless everything is sound.

    Examples: `dreamer verify runs/swingup-1`, `dreamer verify runs`, `dreamer verify policy.pt`.

    Args:
        paths: Run directories, directories of runs, or single files.
    """
    from dreamer.verify import verify as check

    status = 0
    for sound, text in check(paths):
        print(f"{'sound  ' if sound else 'REFUSED'}  {text}")
        status = status if sound else 1
    return status
