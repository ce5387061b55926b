"""Commands that use what a run has learned."""

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

Device = Literal["auto", "cpu", "cuda"]
RunPath = Annotated[Path, tyro.conf.Positional]
Paths = Annotated[list[Path], tyro.conf.Positional]


def evaluate(
    run: RunPath, episodes: int = 10, seed: int = 0, video: Path | None = None, device: Device = "auto"
) -> None:
    """Play whole episodes with the deterministic policy, in fresh environments.

    The last line printed is one JSON object: mean, std, returns, env_step.

    Examples: `dreamer eval runs/swingup-1`, `dreamer eval runs/swingup-1 --episodes 1 --video swingup.mp4`.

    Args:
        run: A run directory.
        episodes: How many to play.
        seed: Decides how the episodes begin.
        video: File for a video of the first episode (.mp4 or .gif).
        device: Where the networks run.
    """
    from dreamer.api import evaluate as play
    from dreamer.logs.video import check_format, enlarge, write_video

    if video is not None:
        check_format(video)
    result = play(run, episodes, seed, video is not None, device)
    scores = {"mean": result.mean, "std": result.std, "returns": result.returns, "env_step": result.env_step}
    print(json.dumps(scores))  # before the video, which may fail if the disk is full
    if video is not None and result.images is not None:
        write_video(video, enlarge(result.images, 4))


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
        out: File to write; ONNX if its name ends in .onnx.
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
