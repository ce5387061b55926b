"""The store: whole episodes only, capacity, going back to a checkpoint, and what a kill leaves behind."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.replay import EpisodeStore


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _ids_on_disk(directory: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in directory.iterdir())


def _fill(store: EpisodeStore, make, lengths) -> None:
    for length in lengths:
        store.append(make(store.extent()["next_id"], length))


def _agent_steps(store: EpisodeStore) -> int:
    """Agent steps in the live episodes: each has one element more."""
    return int((store.lengths - 1).sum())


def test_append_and_read_back(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path / "replay")
    assert [store.append(counting_episode(i, 5 + i)) for i in range(3)] == [0, 1, 2]
    assert store.ids.tolist() == [0, 1, 2]
    assert store.lengths.tolist() == [5, 6, 7]
    assert _agent_steps(store) == 4 + 5 + 6
    assert (tmp_path / "replay" / "episode-00000000-5.npz").exists()
    for opened in (store, EpisodeStore(tmp_path / "replay"), EpisodeStore(tmp_path / "replay", mode="r")):
        np.testing.assert_array_equal(opened.episode(1)["reward"], 1000 + np.arange(6))
        assert _agent_steps(opened) == 15


def test_ids_go_on_after_reopening(tmp_path, counting_episode):
    _fill(EpisodeStore(tmp_path), counting_episode, [4, 4])
    store = EpisodeStore(tmp_path)
    assert store.append(counting_episode(2, 4)) == 2
    assert store.ids.tolist() == [0, 1, 2]


def test_arrays_that_do_not_fit_are_refused_and_change_nothing(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [4])
    before = _files(tmp_path)
    with pytest.raises(UserError, match=r"uint8\[8, 8, 3\].*uint8\[3, 5, 3\]"):
        store.append(counting_episode(1, 4) | {"image": np.zeros((4, 8, 8, 3), np.uint8)})
    with pytest.raises(ValueError, match="one length"):
        store.append(counting_episode(1, 4) | {"reward": np.zeros(5, np.float32)})
    assert _files(tmp_path) == before
    assert store.ids.tolist() == [0]


def test_at_most_max_mapped_files_are_mapped(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, max_mapped=4)
    _fill(store, counting_episode, [3] * 300)
    for episode_id in [*range(300), *range(300)]:
        assert store.episode(episode_id)["reward"][2] == 1000 * episode_id + 2
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert len(mapped) <= 4
    opened = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert sum(tmp_path in path.parents for path in opened) <= 4


def test_an_episode_in_use_outlives_its_mapping_and_its_file(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, max_mapped=1)
    _fill(store, counting_episode, [3, 3])
    reward = store.episode(0)["reward"]
    store.episode(1)
    store.rewind({"episodes": [], "next_id": 0})
    assert reward.tolist() == [0, 1, 2]


def test_capacity_takes_the_oldest_out(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, capacity=12)
    _fill(store, counting_episode, [5] * 5)  # 4 agent steps each
    assert store.ids.tolist() == [2, 3, 4]
    assert _agent_steps(store) == 12
    assert EpisodeStore(tmp_path, capacity=12).ids.tolist() == [2, 3, 4]
    store.append(counting_episode(5, 30))  # alone beyond the capacity
    assert store.ids.tolist() == [5]


def test_evicted_files_stay_until_neither_of_the_two_checkpoints_needs_them(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, capacity=8)
    _fill(store, counting_episode, [5, 5])
    older = store.extent()
    store.commit()
    _fill(store, counting_episode, [5])  # evicts 0, which `older` has
    newer = store.extent()
    store.commit()
    _fill(store, counting_episode, [5])  # evicts 1
    assert _ids_on_disk(tmp_path) == [0, 1, 2, 3]
    for extent, ids in [(newer, [1, 2]), (older, [0, 1])]:
        again = EpisodeStore(tmp_path, capacity=8, mode="r")
        again.rewind(extent)
        assert again.ids.tolist() == ids
    store.commit()  # now `newer` is the older of the two
    assert _ids_on_disk(tmp_path) == [1, 2, 3]


def test_rewind_returns_to_the_checkpoint(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, capacity=12)
    _fill(store, counting_episode, [5] * 4)
    extent = store.extent()
    assert extent == {"episodes": [[1, 4]], "next_id": 4}
    _fill(store, counting_episode, [5] * 3)  # lost with the kill that follows; evicts 1, 2 and 3
    store = EpisodeStore(tmp_path, capacity=12)
    store.rewind(extent)
    assert store.ids.tolist() == [1, 2, 3]
    assert store.extent() == extent
    assert store.append(counting_episode(4, 4)) == 4
    assert store.ids.tolist() == [2, 3, 4]
    assert EpisodeStore(tmp_path).lengths.tolist() == [5, 5, 5, 5, 4]  # without a capacity 0 and 1 are back


def test_a_reused_id_shows_the_new_episode(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5, 5])
    assert store.episode(1)["reward"][0] == 1000
    store.rewind({"episodes": [[0, 1]], "next_id": 1})
    store.append(counting_episode(7, 5))
    assert store.episode(1)["reward"][0] == 7000


def test_what_was_evicted_before_the_checkpoint_goes_after_two_more(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, capacity=8)
    _fill(store, counting_episode, [5] * 5)
    store = EpisodeStore(tmp_path, capacity=8)  # where 3 and 4 are live
    store.rewind({"episodes": [[1, 3]], "next_id": 3})
    store.commit()
    assert _ids_on_disk(tmp_path) == [0, 1, 2]
    store.commit()
    assert _ids_on_disk(tmp_path) == [1, 2]


def test_rewind_to_nothing(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    empty = store.extent()
    _fill(store, counting_episode, [5, 5])
    store.rewind(empty)
    assert len(store) == _agent_steps(store) == 0
    assert not list(tmp_path.iterdir())


def test_rewind_names_missing_episodes_and_changes_nothing(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 4)
    extent = store.extent()
    _fill(store, counting_episode, [5])
    (tmp_path / "episode-00000001-5.npz").unlink()
    (tmp_path / "episode-00000003-5.npz").unlink()
    before = _files(tmp_path)
    with pytest.raises(UserError, match=r"id 1, 3"):
        EpisodeStore(tmp_path).rewind(extent)
    assert _files(tmp_path) == before


def test_damaged_episode_is_named_set_aside_and_done_without(tmp_path, counting_episode, caplog):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 3)
    extent = store.extent()
    bad = tmp_path / "episode-00000001-5.npz"
    bad.write_bytes(bad.read_bytes()[:700])
    with caplog.at_level(logging.WARNING):
        store = EpisodeStore(tmp_path)
    assert str(bad) in caplog.text
    assert store.ids.tolist() == [0, 2]
    assert (tmp_path / "episode-00000001-5.npz.corrupt").exists()
    for opened in (store, EpisodeStore(tmp_path)):
        opened.rewind(extent)
        assert opened.extent() == {"episodes": [[0, 1], [2, 3]], "next_id": 3}


def test_a_name_that_lies_about_the_length_is_damage(tmp_path, counting_episode, caplog):
    _fill(EpisodeStore(tmp_path), counting_episode, [5])
    (tmp_path / "episode-00000000-5.npz").rename(tmp_path / "episode-00000000-6.npz")
    assert len(EpisodeStore(tmp_path)) == 0
    assert "length" in caplog.text


def test_opening_to_read_changes_nothing(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 3)
    (tmp_path / "episode-00000001-5.npz").write_bytes(b"damaged")
    (tmp_path / "episode-00000003-5.npz.tmp").write_bytes(b"being written")
    before = _files(tmp_path)
    reader = EpisodeStore(tmp_path, mode="r")
    assert reader.ids.tolist() == [0, 2]
    reader.rewind({"episodes": [[0, 1]], "next_id": 1})
    assert reader.ids.tolist() == [0]
    with pytest.raises(ValueError, match="read only"):
        reader.append(counting_episode(3, 5))
    with pytest.raises(UserError):
        EpisodeStore(tmp_path / "missing", mode="r")
    assert _files(tmp_path) == before


def test_a_directory_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot open"):
        EpisodeStore(tmp_path / "file" / "replay")


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, counting_episode, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5])
    before = _files(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match="No space left"):
        store.append(counting_episode(1, 5))
    assert _files(tmp_path) == before
    assert store.ids.tolist() == [0]
    monkeypatch.undo()
    assert store.append(counting_episode(1, 5)) == 1  # there is room again


def test_a_vanished_file_is_a_user_error(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5])
    (tmp_path / "episode-00000000-5.npz").unlink()
    with pytest.raises(UserError, match="episode-00000000-5"):
        store.episode(0)


_APPEND_FOREVER = """
import sys
import numpy as np
from dreamer.replay import EpisodeStore
store = EpisodeStore(sys.argv[1])
while True:
    store.append({"action": np.full((100_000, 2), len(store), np.float32)})
"""


def test_a_kill_at_any_moment_leaves_whole_episodes(tmp_path, caplog):
    for seconds in (0.0, 0.013, 0.027):
        paths = os.pathsep.join(sys.path)
        command = [sys.executable, "-c", _APPEND_FOREVER, str(tmp_path)]
        writer = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths})
        known = len(list(tmp_path.glob("*.npz")))
        while len(list(tmp_path.glob("*.npz"))) < known + 3:
            assert writer.poll() is None
            time.sleep(0.005)
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        store = EpisodeStore(tmp_path)
        assert store.ids.tolist() == list(range(len(store)))
        for episode_id in store.ids:
            assert (store.episode(episode_id)["action"] == episode_id).all()
    assert not caplog.records
    assert all(path.suffix == ".npz" for path in tmp_path.iterdir())
