"""The store: whole episodes only, capacity, going back to a checkpoint, and what a kill leaves behind."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.machine import memory_bytes
from dreamer.replay import EpisodeStore, SequenceSampler
from dreamer.replay.episode_file import DamagedEpisodeError, write_episode


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
    assert (extent["episodes"], extent["next_id"], len(extent["checksums"])) == ([[1, 4]], 4, 3)
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


def test_rewind_to_what_contradicts_itself_changes_nothing(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 4)
    before = _files(tmp_path)
    for next_id in (-5, 0, 3):
        with pytest.raises(ValueError, match="its next episode"):
            store.rewind({"episodes": [[0, 4]], "next_id": next_id})
    assert _files(tmp_path) == before
    assert len(store) == 4


def test_rewind_goes_on_without_a_missing_episode_and_refuses_if_most_are_missing(
    tmp_path, counting_episode, caplog
):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 4)
    extent = store.extent()
    _fill(store, counting_episode, [5])
    for number in (1, 3):
        (tmp_path / f"episode-0000000{number}-5.npz").unlink()
    store = EpisodeStore(tmp_path)
    store.rewind(extent)
    assert (
        "of the 4 episodes of the checkpoint, 2 are missing or others (id 1, 3): going on without them"
        in caplog.text
    )
    assert store.ids.tolist() == [0, 2]
    assert store.append(counting_episode(0, 5)) == 4
    (tmp_path / "episode-00000002-5.npz").unlink()
    before = _files(tmp_path)
    with pytest.raises(UserError, match=r"id 1, 2, 3.*put them back"):
        EpisodeStore(tmp_path).rewind(extent)
    assert _files(tmp_path) == before


def test_episode_that_is_deleted_while_the_store_is_open_is_done_without(tmp_path, counting_episode, caplog):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 3)
    (tmp_path / "episode-00000001-5.npz").unlink()
    for _ in range(9):
        SequenceSampler(store, 4, 5).sample(np.random.default_rng(0))
    assert store.ids.tolist() == [0, 2]
    assert caplog.text.count("is gone: going on without it") == 1
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match="Cannot read the episode"):
        store.episode(0)


def test_two_files_of_one_episode_are_not_both_taken(tmp_path, counting_episode, caplog):
    _fill(EpisodeStore(tmp_path), counting_episode, [5, 5])
    write_episode(tmp_path / "episode-00000001-9.npz", counting_episode(1, 9))
    write_episode(tmp_path / "episode-00000001-05.npz", counting_episode(1, 5))
    store = EpisodeStore(tmp_path)
    assert store.ids.tolist() == [0, 1]
    assert len(store.episode(1)["reward"]) == 5
    assert caplog.text.count("going on without it") == 2


def test_episode_that_another_sound_one_has_replaced_is_left_out(tmp_path, counting_episode, caplog):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 4)
    extent = store.extent()
    path = tmp_path / "episode-00000001-5.npz"
    shutil.copy(tmp_path / "episode-00000003-5.npz", path)
    with pytest.raises(DamagedEpisodeError, match="it holds another episode than before"):
        store.read(1, 0, store.allocate((5,)), slice(0, 5))
    path.with_name(path.name + ".corrupt").rename(path)
    store = EpisodeStore(tmp_path)
    store.rewind(extent)
    assert store.ids.tolist() == [0, 2, 3]
    assert "the checkpoint was made with another one" in caplog.text


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(memory_bytes())


IRREGULAR = {
    "pipe": _pipe,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "as large as the memory": _endless,
}


@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR.keys())
def test_what_is_no_file_is_set_aside_at_a_start_and_later(make, tmp_path, counting_episode, caplog):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [5] * 3)
    path = tmp_path / "episode-00000001-5.npz"
    path.unlink()
    make(path)
    assert EpisodeStore(tmp_path, mode="r").ids.tolist() == [0, 2]
    for _ in range(9):
        SequenceSampler(store, 4, 5).sample(np.random.default_rng(0))
    assert store.ids.tolist() == [0, 2]
    if os.path.lexists(path):  # a link to nothing is as good as gone
        assert make is IRREGULAR["link to nothing"]
        assert EpisodeStore(tmp_path).ids.tolist() == [0, 2]
    assert os.path.lexists(path.with_name(path.name + ".corrupt"))
    assert "going on without it" in caplog.text


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
        assert opened.extent()["episodes"] == [[0, 1], [2, 3]]
        assert opened.extent()["next_id"] == 3


def test_a_name_that_lies_about_the_length_is_damage(tmp_path, counting_episode, caplog):
    _fill(EpisodeStore(tmp_path), counting_episode, [5])
    (tmp_path / "episode-00000000-5.npz").rename(tmp_path / "episode-00000000-6.npz")
    assert len(EpisodeStore(tmp_path)) == 0
    assert "length" in caplog.text


def _alter(path: Path, content: Callable[[bytes], bytes]) -> None:
    """Change a file, and its time as well, whatever the clock's resolution is."""
    path.write_bytes(content(path.read_bytes()))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def _with_another_reward(content: bytes) -> bytes:
    """Change one bit in the middle of the file, which the structure says nothing about."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "altered": _with_another_reward,
    "cut": lambda content: content[:700],
    "emptied": lambda _: b"",
    "replaced": lambda _: b"something else",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("when", ["before it was read", "after it was read"])
def test_damage_while_the_store_is_open_costs_one_episode(tmp_path, counting_episode, caplog, damage, when):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [50] * 3)
    sampler = SequenceSampler(store, 8, 5)
    if when == "after it was read":
        for _ in range(5):
            sampler.sample(np.random.default_rng(0))
    bad = tmp_path / "episode-00000001-50.npz"
    _alter(bad, damage)
    batches = [sampler.sample(rng) for rng in np.random.default_rng(1).spawn(5)]
    numbers = {int(x) for batch in batches for x in batch["action"][..., 0].flat}
    assert numbers == {0, 2}
    assert store.ids.tolist() == [0, 2]
    assert [record.message.split(" (")[0] for record in caplog.records] == [f"Episode {bad} is damaged"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episode-00000000-50.npz",
        "episode-00000001-50.npz.corrupt",
        "episode-00000002-50.npz",
    ]


def test_when_all_episodes_are_damaged_there_is_nothing_to_learn_from(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path)
    _fill(store, counting_episode, [50] * 3)
    for path in tmp_path.iterdir():
        _alter(path, _with_another_reward)
    with pytest.raises(UserError, match="no episode"):
        SequenceSampler(store, 8, 5).sample(np.random.default_rng(0))


def test_a_damaged_episode_may_be_evicted_and_rewound(tmp_path, counting_episode):
    store = EpisodeStore(tmp_path, capacity=100)
    _fill(store, counting_episode, [50] * 3)  # evicts 0
    extent = store.extent()
    store.commit()
    for episode_id in (1, 2):
        _alter(tmp_path / f"episode-0000000{episode_id}-50.npz", _with_another_reward)
        with pytest.raises(DamagedEpisodeError, match="checksum"):
            store.episode(episode_id)
    store.commit()
    store.append(counting_episode(3, 50))
    store.commit()
    again = EpisodeStore(tmp_path, capacity=100)
    again.rewind(extent)
    assert len(again) == 0


def test_an_episode_of_another_environment_is_set_aside(tmp_path, counting_episode, caplog):
    _fill(EpisodeStore(tmp_path / "other"), lambda i, n: {"reward": np.zeros(n, np.float32)}, [5])
    _fill(EpisodeStore(tmp_path / "run"), counting_episode, [5, 5, 5])
    (tmp_path / "other" / "episode-00000000-5.npz").replace(tmp_path / "run" / "episode-00000000-5.npz")
    store = EpisodeStore(tmp_path / "run")
    assert store.ids.tolist() == [1, 2]
    assert "{'reward': 'float32[]'}, but episodes of this run" in caplog.text


def test_episodes_that_are_all_of_another_environment_are_refused_and_stay(tmp_path, counting_episode):
    _fill(EpisodeStore(tmp_path), counting_episode, [5, 5])
    before = _files(tmp_path)
    with pytest.raises(UserError, match=r"environment's episodes hold .* use the environment of that run"):
        EpisodeStore(tmp_path, signature={"reward": "float32[]"})
    assert _files(tmp_path) == before


def test_two_files_of_one_id_leave_the_sound_one(tmp_path, counting_episode, caplog):
    _fill(EpisodeStore(tmp_path), counting_episode, [5, 5])
    shutil.copy(tmp_path / "episode-00000001-5.npz", tmp_path / "episode-00000001-6.npz")
    assert EpisodeStore(tmp_path).lengths.tolist() == [5, 5]
    assert "length" in caplog.text


@pytest.mark.parametrize("key", ["reward", "action"])
def test_numbers_beyond_float32_are_refused(tmp_path, counting_episode, key):
    store, episode = EpisodeStore(tmp_path), counting_episode(0, 5)
    episode[key][2] = np.inf
    with pytest.raises(UserError, match=f"{key!r} that are not finite, or beyond float32"):
        store.append(episode)
    assert not list(tmp_path.iterdir())


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


_APPEND_FOREVER = """
import sys
import numpy as np
from dreamer.replay import EpisodeStore, SequenceSampler
from dreamer.replay.episode_file import DamagedEpisodeError, write_episode
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
