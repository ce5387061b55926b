"""Checkpoints: everything comes back, damage is noticed, the last good one is never lost."""

import errno
import itertools
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamer.errors import UserError
from dreamer.storage import checkpoint


def _state(env_step: int) -> dict:
    return {"env_step": env_step, "weight": torch.full((1000,), float(env_step))}


def _names(directory: Path) -> list[str]:
    return sorted(path.name.split("-")[1] for path in directory.iterdir())


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def test_checkpoint_round_trip(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "env_step": 12345,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "torch_rng": torch.Generator().manual_seed(3).get_state(),
        "numpy_rng": np.random.default_rng(0).bit_generator.state,  # integers of 128 bits
        "replay": {"episodes": [[0, 7]], "next_id": 7},
        "others": [None, True, 1.5, "text", torch.tensor([True]), torch.ones(2, dtype=torch.bfloat16)],
    }
    path = checkpoint.save(tmp_path / "run" / "checkpoint", state)
    assert path.name.startswith("step-000012345-")
    loaded = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert loaded is not None
    assert loaded.keys() == state.keys()
    torch.testing.assert_close(loaded["model"], dict(state["model"]), rtol=0, atol=0)
    for key in ("numpy_rng", "replay"):
        assert loaded[key] == state[key]
    assert loaded["others"][:4] == state["others"][:4]
    assert loaded["others"][5].dtype == torch.bfloat16
    assert torch.equal(loaded["torch_rng"], state["torch_rng"])
    moments = loaded["optimizer"]["state"][0]
    assert torch.equal(moments["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_latest_checkpoint_of_an_empty_folder_is_none(tmp_path):
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "missing") is None
    assert not list(tmp_path.iterdir())


def test_two_newest_checkpoints_are_kept(tmp_path):
    for env_step in (100, 2_000_000_000, 3_000_000_000, 900):  # the last: from a run that went back
        checkpoint.save(tmp_path, _state(env_step))
        loaded = checkpoint.load(tmp_path)
        assert loaded is not None
        assert loaded["env_step"] == env_step
    assert _names(tmp_path) == ["000000900"]
    checkpoint.save(tmp_path, _state(1000))
    checkpoint.save(tmp_path, _state(1100))
    assert _names(tmp_path) == ["000001000", "000001100"]


def test_checkpoint_of_the_same_step_is_replaced(tmp_path):
    for grad_step in (1, 2, 2, 3, 4, 5):  # the same content makes the same file
        checkpoint.save(tmp_path, _state(100) | {"grad_step": grad_step})
        loaded = checkpoint.load(tmp_path)
        assert loaded is not None
        assert loaded["grad_step"] == grad_step
        time.sleep(0.02)  # file times are that coarse
    assert _names(tmp_path) == ["000000100", "000000100"]


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _empty])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage, caplog):
    checkpoint.save(tmp_path, _state(100))
    bad = checkpoint.save(tmp_path, _state(200))
    damage(bad)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with caplog.at_level(logging.WARNING):
        loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded["env_step"] == 100
    assert str(bad) in caplog.text
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(tmp_path):
    checkpoint.save(tmp_path, _state(100))
    _truncate(checkpoint.save(tmp_path, _state(200)))
    checkpoint.save(tmp_path, _state(300))
    assert _names(tmp_path) == ["000000100", "000000300"]


def test_only_damaged_checkpoints_are_a_user_error(tmp_path):
    bad = [checkpoint.save(tmp_path, _state(step)) for step in (100, 200)]
    for path in bad:
        _truncate(path)
    with pytest.raises(UserError, match=f"{bad[1].name}, {bad[0].name}"):
        checkpoint.load(tmp_path)


def test_checkpoint_with_the_name_of_another_frame_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, _state(100))
    path.rename(path.with_name(path.name.replace("000000100", "000000900")))
    with pytest.raises(UserError, match="was made at another frame than its name says"):
        checkpoint.load(tmp_path)


def test_an_unreadable_checkpoint_is_a_user_error_not_passed_over(tmp_path, monkeypatch):
    def refuse(path):  # no file mode keeps the superuser from reading
        raise PermissionError(errno.EACCES, "Permission denied")

    path = checkpoint.save(tmp_path, _state(100))
    monkeypatch.setattr(checkpoint, "read_regular", refuse)
    with pytest.raises(UserError, match=f"Cannot read {path}: Permission denied"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_passed_over_and_does_not_hinder_the_next(make, tmp_path, caplog):
    checkpoint.save(tmp_path, _state(100))
    make(tmp_path / "step-000000200-0123456789abcdef.pt")
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert state["env_step"] == 100
    assert "is damaged (it is no ordinary file)" in caplog.text
    checkpoint.save(tmp_path, _state(200))
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert state["env_step"] == 200


def test_a_checkpoint_of_an_earlier_version_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT - 1)
    path = checkpoint.save(tmp_path, _state(100))
    monkeypatch.undo()
    with pytest.raises(UserError, match=f"{path} was written by another version of this program: use that"):
        checkpoint.load(tmp_path)
    assert path.exists()


def test_loading_beside_a_process_that_saves(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    checkpoint.save(tmp_path, _state(1))
    done = threading.Event()

    def save() -> None:
        for env_step in itertools.count(2):
            if done.is_set():
                return
            checkpoint.save(tmp_path, _state(env_step))

    with ThreadPoolExecutor(1) as thread:
        saving = thread.submit(save)
        try:
            steps = [_loaded_step(tmp_path) for _ in range(300)]
            assert all(checkpoint.paths(tmp_path) for _ in range(300))
        finally:
            done.set()
        saving.result()
    assert steps == sorted(steps)
    assert steps[-1] > 1


def _loaded_step(directory: Path) -> int:
    state = checkpoint.load(directory)
    assert state is not None
    return state["env_step"]


def test_a_checkpoint_that_vanishes_is_looked_for_again(tmp_path, monkeypatch):
    older, newer = checkpoint.save(tmp_path, _state(1)), checkpoint.save(tmp_path, _state(2))
    listed = checkpoint.paths

    def list_and_remove(directory: Path) -> list[Path]:
        found = listed(directory)
        newer.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(checkpoint, "paths", list_and_remove)
    assert older.exists()
    assert _loaded_step(tmp_path) == 1


def test_a_full_disk_leaves_the_old_checkpoints(tmp_path, monkeypatch):
    for env_step in (100, 200):
        checkpoint.save(tmp_path, _state(env_step))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save(tmp_path, _state(300))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*checkpoint .Not a directory."):
        checkpoint.save(tmp_path / "file" / "checkpoint", _state(100))


def test_leftovers_of_a_kill_are_ignored_and_then_removed(tmp_path):
    (tmp_path / "step-000000300-0123456789abcdef.pt.tmp").write_bytes(b"half")
    assert checkpoint.load(tmp_path) is None
    checkpoint.save(tmp_path, _state(100))
    assert _names(tmp_path) == ["000000100"]


@pytest.mark.parametrize("value", [np.zeros(3), np.float64(1), Path("x"), np.random.default_rng(0)])
def test_values_that_could_not_be_read_back_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match="tensors"):
        checkpoint.save(tmp_path / "checkpoint", {"env_step": 1, "value": value})
    assert not list(tmp_path.iterdir())


def test_generator_state_round_trip():
    rng = np.random.default_rng(7)
    rng.integers(10, size=3, dtype=np.int32)  # leaves half a word behind
    again = checkpoint.unpack_rng(checkpoint.pack_rng(rng))
    assert (
        rng.integers(99, size=9, dtype=np.int32).tolist()
        == again.integers(99, size=9, dtype=np.int32).tolist()
    )
    assert rng.normal(size=5).tolist() == again.normal(size=5).tolist()
