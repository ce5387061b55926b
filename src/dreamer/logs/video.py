"""Images and videos of what the world model predicts, and the error in numbers (paper, Figure 5).

Truth, prediction and error stand below each other; the error is drawn as `(model - truth + 1) / 2`, so gray
is right. Sequences are `(N, T, H, W, 3)`, floats in [0, 1] or uint8.
"""

import contextlib
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dreamer.errors import UserError, writing

FORMATS = (".mp4", ".gif")
PAPER, INK, QUIET, ACCENT = (255, 255, 255), (51, 51, 51), (130, 130, 130), (200, 64, 47)
ROWS = ("truth", "model", "error")


def comparison(truth: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Put truth, prediction and error below each other, and the sequences next to each other.

    `(N, T, H, W, 3)` twice -> uint8 `(T, 3 H, N W, 3)`.
    """
    rows = np.concatenate(_truth_model_error(truth, model), axis=2)
    n, time, height, width, channels = rows.shape
    return rows.transpose(1, 2, 0, 3, 4).reshape(time, height, n * width, channels)


def annotated(truth: np.ndarray, model: np.ndarray, context: int, scale: int = 3) -> np.ndarray:
    """Return the `comparison` enlarged, with a name beside each row and the time above.

    `(N, T, H, W, 3)` twice -> uint8 `(T, H', W', 3)`.
    """
    images = enlarge(comparison(truth, model), scale)
    height = truth.shape[2] * scale
    return np.stack([_annotate(image, height, t, context) for t, image in enumerate(images)])


def filmstrip(
    truth: np.ndarray, model: np.ndarray, every: int, context: int = 5, scale: int = 2
) -> np.ndarray:
    """Draw one sequence as a strip: rows truth, model and error, a column for every `every`-th image.

    The model has seen the columns left of the line, and predicts those right of it from actions alone.
    `(T, H, W, 3)` twice -> uint8 `(H', W', 3)`.
    """
    rows = [enlarge(row[0, ::every], scale) for row in _truth_model_error(truth[None], model[None])]
    count, height, width, _ = rows[0].shape
    left, top, gap, line = 52, 22, 3, 9
    seen = -(-context // every)
    x = [left + i * (width + gap) + (line if i >= seen else 0) for i in range(count)]
    canvas = Image.new("RGB", (x[-1] + width + gap, top + 3 * (height + gap)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for r, (name, row) in enumerate(zip(ROWS, rows, strict=True)):
        y = top + r * (height + gap)
        draw.text((left - 8, y + height // 2), name, INK, _font(12), anchor="rm")
        for i, image in enumerate(row):
            canvas.paste(Image.fromarray(image), (x[i], y))
    for i in range(count):
        color = QUIET if i < seen else ACCENT
        draw.text((x[i] + width // 2, top // 2), _time(i * every, context), color, _font(11), anchor="mm")
    if 0 < seen < count:
        mark = x[seen] - (line + gap) // 2 - 1
        draw.line([(mark, 4), (mark, canvas.height - gap)], ACCENT, 2)
    return np.asarray(canvas)


def error_by_horizon(truth: np.ndarray, model: np.ndarray, context: int) -> dict[str, list[float]]:
    """Return the error of open-loop prediction by the number of steps since the last image seen.

    `horizon` counts from 1; `mae` and `mse` are means over sequences, pixels and channels, which range
    over [0, 1]; `mae_still` is the error of repeating the last image seen.
    """
    truth, model = _unit(truth), _unit(model)
    error = model[:, context:] - truth[:, context:]
    still = truth[:, context - 1 : context] - truth[:, context:]
    axes = (0, 2, 3, 4)
    return {
        "horizon": list(range(1, error.shape[1] + 1)),
        "mae": np.abs(error).mean(axes).tolist(),
        "mse": np.square(error).mean(axes).tolist(),
        "mae_still": np.abs(still).mean(axes).tolist(),
    }


def enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel of `(..., H, W, 3)` `scale` times in both directions."""
    return images.repeat(scale, axis=-3).repeat(scale, axis=-2)


def three_channels(images: np.ndarray) -> np.ndarray:
    """Give gray images `(..., 1)` three equal channels; keep the last three of more than three."""
    return images.repeat(3, axis=-1) if images.shape[-1] == 1 else images[..., -3:]


def check_format(path: Path) -> None:
    """Raise `UserError` if no video can be written under this name, whatever it shows."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UserError(f"Cannot write {path.name!r}: let the file name end in {' or '.join(FORMATS)}.")
    if ending == ".mp4" and not _has_encoder():
        raise UserError(
            f"Cannot write {path.name!r}, since imageio-ffmpeg or its ffmpeg is missing: pip install"
            " imageio-ffmpeg, or let the file name end in .gif."
        )


def _has_encoder() -> bool:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return False
    return True


def write_video(path: Path, images: np.ndarray, fps: float = 20.0) -> None:
    """Write images `(T, H, W, 3)`, uint8, as .mp4 (H.264) or .gif; the file appears when it is whole.

    Raises `UserError` if the ending of `path` is another one, if it cannot be encoded here, or if the disk
    refuses.
    """
    path = Path(path)
    check_format(path)
    if path.suffix.lower() == ".gif":
        _write(path, images, duration=1000 / fps, loop=0)
        return
    # H.264 halves the resolution of colors, so it takes even sizes only.
    even = [(0, 0), (0, images.shape[1] % 2), (0, images.shape[2] % 2), (0, 0)]
    images = np.pad(images, even, mode="edge")
    _write(path, images, fps=fps, codec="libx264", quality=8, macro_block_size=2, plugin="FFMPEG")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image `(H, W, 3)`, uint8, as .png or .jpg; the file appears when it is whole.

    Raises `UserError` if the ending of `path` is another one, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg"):
        raise UserError(f"Cannot write {path.name!r}: let the file name end in .png or .jpg.")
    _write(path, image)


def _write(path: Path, data: np.ndarray, **options: Any) -> None:
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with writing(path, "make room there, or choose another place"):
            path.parent.mkdir(parents=True, exist_ok=True)
            imageio.imwrite(part, data, **options)
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _truth_model_error(truth: np.ndarray, model: np.ndarray) -> list[np.ndarray]:
    if truth.shape != model.shape or truth.ndim != 5:
        raise ValueError(f"truth {truth.shape} and model {model.shape} must both be (N, T, H, W, 3)")
    truth, model = _unit(truth), _unit(model)
    return [_bytes(row) for row in (truth, model, (model - truth + 1) / 2)]


def _unit(images: np.ndarray) -> np.ndarray:
    return images / np.float32(255) if images.dtype == np.uint8 else images


def _bytes(images: np.ndarray) -> np.ndarray:
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8)


def _annotate(image: np.ndarray, height: int, t: int, context: int) -> np.ndarray:
    left, top = 52, 24
    canvas = Image.new("RGB", (left + image.shape[1], top + image.shape[0]), PAPER)
    canvas.paste(Image.fromarray(image), (left, top))
    draw = ImageDraw.Draw(canvas)
    for r, name in enumerate(ROWS):
        draw.text((left - 8, top + r * height + height // 2), name, INK, _font(12), anchor="rm")
    what, color = ("seen by the model", QUIET) if t < context else ("predicted from actions alone", ACCENT)
    draw.text((left, top // 2), f"t = {t}   {what}", color, _font(12), anchor="lm")
    return np.asarray(canvas)


def _time(t: int, context: int) -> str:
    """Label a column: `t = 3` in the context, `+3` for the third predicted image after it."""
    return f"t = {t}" if t < context else f"+{t - context + 1}"


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
