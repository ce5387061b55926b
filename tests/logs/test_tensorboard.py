"""TensorBoard shows what the record holds, once, and nothing that fails there stops a run."""

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamer.logs.tensorboard import TensorBoard

IMAGES = np.random.default_rng(0).integers(0, 255, (4, 8, 12, 3), dtype=np.uint8)


def shown(directory: Path) -> Any:
    """What TensorBoard itself reads there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return accumulator


def points(directory: Path, tag: str = "x") -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in shown(directory).Scalars(tag)]


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_scalars(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "board")
    board.scalars(10, {"x": 1.5, "y": math.nan})
    board.scalars(20, {"x": math.inf})
    assert points(tmp_path / "board") == [(10, 1.5), (20, math.inf)]
    assert math.isnan(points(tmp_path / "board", "y")[0][1])


def test_video_is_a_gif(tmp_path: Path) -> None:
    TensorBoard(tmp_path).video(10, "eval/video", IMAGES)
    (event,) = shown(tmp_path).Images("eval/video")
    assert (event.step, event.height, event.width) == (10, 8, 12)
    assert event.encoded_image_string.startswith(b"GIF89a")


def test_resumed_run_has_no_gap_and_no_duplicate(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars(10, {"x": 1.0})
    extent = board.extent()
    for step in (10, 20, 30):  # an evaluation at the frames of the checkpoint, and what came after it
        board.scalars(step, {"x": 2.0})
    running = shown(tmp_path)
    resumed = TensorBoard(tmp_path)
    resumed.rewind(extent, 10)
    resumed.scalars(20, {"x": 5.0})
    assert points(tmp_path) == [(10, 1.0), (20, 5.0)]
    running.Reload()  # a TensorBoard that has read what was cut off: it forgets what lies after the checkpoint
    assert [(event.step, event.value) for event in running.Scalars("x")] == [(10, 1.0), (10, 2.0), (20, 5.0)]


def test_restarts_do_not_add_up(tmp_path: Path) -> None:
    """A full disk that ends the run at the same place every time."""
    board = TensorBoard(tmp_path)
    board.video(10, "film", IMAGES)
    extent, sizes = board.extent(), []
    for _ in range(20):
        board = TensorBoard(tmp_path)
        board.rewind(extent, 10)
        board.video(20, "film", IMAGES)
        sizes.append(size(tmp_path))
    assert max(sizes) == min(sizes)
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoint_without_sizes_keeps_all_files(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars(10, {"x": 1.0})
    board.scalars(20, {"x": 2.0})
    resumed = TensorBoard(tmp_path)
    resumed.rewind(resumed.extent(), 10)
    resumed.scalars(20, {"x": 5.0})
    assert points(tmp_path) == [(10, 1.0), (20, 5.0)]


def test_file_shorter_than_the_checkpoint_says_is_not_filled_with_zeros(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.scalars(10, {"x": 1.0})
    before = size(tmp_path)
    TensorBoard(tmp_path).rewind({name: length + 99 for name, length in board.extent().items()}, 10)
    assert size(tmp_path) == before


def test_a_link_is_removed_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    link = tmp_path / "board" / "events.out.tfevents.1.host"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "other")
    TensorBoard(link.parent).rewind({link.name: 1}, env_step=10)
    assert (tmp_path / "other").read_text() == "mine"
    assert not link.is_symlink()


def test_deleted_folder_is_made_again(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "board")
    board.scalars(10, {"x": 1.0})
    shutil.rmtree(tmp_path / "board")
    assert board.extent() == {}
    board.scalars(20, {"x": 2.0})
    assert points(tmp_path / "board") == [(20, 2.0)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_failure_is_one_warning(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board = TensorBoard(tmp_path)
    board.scalars(10, {"x": 1.0})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    for step in (20, 30):
        board.scalars(step, {"x": 2.0})
        board.video(step, "film", IMAGES)
    monkeypatch.undo()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "TensorBoard gets nothing more of this run"
    ]
    assert os.strerror(number) in caplog.text
    assert points(tmp_path) == [(10, 1.0)]
