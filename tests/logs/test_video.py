import errno
import gc
import os
import sys

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.logs import video
from dreamer.logs.video import (
    annotated,
    check_format,
    comparison,
    enlarge,
    error_by_horizon,
    filmstrip,
    three_channels,
    write_image,
    write_video,
)


def sequences(n=2, time=4, height=6, width=8):
    return np.random.default_rng(0).integers(0, 256, (n, time, height, width, 3), dtype=np.uint8)


def test_comparison_rows_and_columns():
    truth = sequences()
    model = truth.copy()
    model[1] = 255 - truth[1]
    frames = comparison(truth, model)
    assert frames.shape == (4, 18, 16, 3)
    np.testing.assert_array_equal(frames[2, :6, :8], truth[0, 2])
    np.testing.assert_array_equal(frames[3, 6:12, 8:], model[1, 3])
    assert set(np.unique(frames[:, 12:, :8])) == {128}  # no error is gray
    expected = (model[1].astype(float) - truth[1] + 255) / 2
    np.testing.assert_allclose(frames[:, 12:, 8:], expected, atol=0.51)


def test_comparison_of_floats_equals_that_of_bytes():
    truth, model = sequences(), sequences()[:, ::-1]
    as_floats = comparison(truth / 255, model.astype(np.float32) / 255)
    assert np.abs(comparison(truth, model).astype(int) - as_floats).max() <= 1
    assert comparison(truth / 255 * 3 - 1, model / 255).dtype == np.uint8  # out of range is clipped


def test_comparison_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(N, T, H, W, 3\)"):
        comparison(sequences(), sequences(time=3))


def test_error_by_horizon():
    truth = np.zeros((2, 5, 2, 2, 3))
    truth[:, 3:] = 0.5
    model = np.zeros_like(truth)
    model[:, 2], model[:, 3], model[:, 4] = 0.1, 0.3, 0.9
    error = error_by_horizon(truth, model, context=2)
    assert error["horizon"] == [1, 2, 3]
    np.testing.assert_allclose(error["mae"], [0.1, 0.2, 0.4])
    np.testing.assert_allclose(error["mse"], [0.01, 0.04, 0.16])
    np.testing.assert_allclose(error["mae_still"], [0, 0.5, 0.5])


def test_filmstrip_marks_the_first_prediction():
    truth = np.zeros((10, 16, 16, 3), np.uint8)
    strip = filmstrip(truth, truth, every=2, context=5)
    assert strip.dtype == np.uint8
    red = (strip == (200, 64, 47)).all(-1).mean(0) > 0.8
    assert np.count_nonzero(red) == 2  # one line of two pixels
    black = (strip == 0).all(-1).any(0)
    columns = np.flatnonzero(np.diff(black.astype(int)) == 1) + 1
    assert len(columns) == 5
    assert columns[2] < np.flatnonzero(red)[0] < columns[3]  # images 0, 2, 4 were seen


def test_annotated_keeps_the_images():
    truth = sequences()
    frames = annotated(truth, truth, context=2, scale=3)
    assert frames.shape[0] == 4
    np.testing.assert_array_equal(frames[:, -54:, -48:], enlarge(comparison(truth, truth), 3))


def read_mp4(path):
    frames = imageio_ffmpeg.read_frames(str(path))
    width, height = next(frames)["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames])


# The reader of imageio-ffmpeg leaves the pipes of its process to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_video_can_be_read_again(tmp_path, ending):
    frames = np.zeros((5, 33, 47, 3), np.uint8)
    frames[:, :, :20] = 255
    frames[range(5), range(5), 30] = 255  # two equal images would become one in a GIF
    path = tmp_path / "videos" / f"a{ending}"
    write_video(path, frames, fps=10)
    again = read_mp4(path) if ending == ".mp4" else imageio.imread(path)
    assert again.shape[0] == 5
    assert again[2, 10, 5].mean() > 240
    assert again[2, 10, 40].mean() < 15
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_video_that_cannot_be_written_is_refused(tmp_path):
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(UserError, match=r"\.mp4 or \.gif"):
        write_video(tmp_path / "a.webm", frames)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        write_image(tmp_path / "file" / "a.png", frames[0])


def test_mp4_without_imageio_ffmpeg_is_refused_and_gif_is_not(tmp_path, monkeypatch):
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"ffmpeg is missing: pip install imageio-ffmpeg, or .*\.gif"):
        write_video(tmp_path / "a.mp4", frames)
    assert not list(tmp_path.iterdir())
    write_video(tmp_path / "a.gif", frames)


def test_mp4_without_the_ffmpeg_program_is_refused(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(UserError, match="ffmpeg is missing"):
        check_format(tmp_path / "a.mp4")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_disk_that_refuses_is_a_user_error_and_leaves_no_image(number, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(video.Path, "replace", refuse)
    with pytest.raises(UserError, match=f"Cannot write .*a.png .{os.strerror(number)}.: make room there"):
        write_image(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_error_of_an_encoder_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("[Errno 32] Broken pipe\n\nFFMPEG COMMAND:\nffmpeg -y\n\nConversion failed!\n")

    monkeypatch.setattr(video.imageio, "imwrite", refuse)
    with pytest.raises(UserError, match=r"Cannot write .*a.mp4 .Conversion failed!.: make room") as caught:
        write_video(tmp_path / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_video_of_gray_and_stacked_images_has_three_channels():
    gray = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    assert three_channels(gray)[0, 1, 0].tolist() == [2, 2, 2]
    many = np.arange(5, dtype=np.uint8).reshape(1, 1, 5)
    assert three_channels(many)[0, 0].tolist() == [2, 3, 4]


def test_writing_leaves_no_pipe_open(tmp_path):
    write_video(tmp_path / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    gc.collect()  # An open pipe would warn here, and a warning is an error.
