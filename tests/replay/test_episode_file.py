"""Episode files: plain archives, mapped correctly, damage noticed without reading the arrays."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from dreamer.replay.episode_file import (
    DamagedEpisodeError,
    map_episode,
    read_layout,
    signature_of,
    write_episode,
)


def test_plain_numpy_reads_the_file(tmp_path, counting_episode):
    episode = counting_episode(3, 17)
    write_episode(tmp_path / "e.npz", episode)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(episode)
        for key, array in episode.items():
            np.testing.assert_array_equal(archive[key], array)
            assert archive[key].dtype == array.dtype


def test_mapped_arrays_equal_those_written_and_are_aligned(tmp_path, counting_episode):
    episode = counting_episode(3, 17)
    write_episode(tmp_path / "e.npz", episode)
    mapped = map_episode(tmp_path / "e.npz", read_layout(tmp_path / "e.npz"))
    for key, array in episode.items():
        np.testing.assert_array_equal(mapped[key], array)
        assert mapped[key].dtype == array.dtype
        assert mapped[key].ctypes.data % 64 == 0
        assert isinstance(mapped[key].base, mmap.mmap)  # not a copy
        assert not mapped[key].flags.writeable


def test_archives_of_numpy_itself_are_read_too(tmp_path, counting_episode):
    episode = counting_episode(1, 5)
    np.savez(tmp_path / "e.npz", **episode)  # its arrays are not aligned
    mapped = map_episode(tmp_path / "e.npz", read_layout(tmp_path / "e.npz"))
    for key, array in episode.items():
        np.testing.assert_array_equal(mapped[key], array)


@pytest.mark.parametrize("array", [np.asfortranarray(np.arange(12.0).reshape(4, 3)), np.arange(24)[::2]])
def test_any_memory_order_can_be_written(tmp_path, array):
    write_episode(tmp_path / "e.npz", {"action": array})
    np.testing.assert_array_equal(
        map_episode(tmp_path / "e.npz", read_layout(tmp_path / "e.npz"))["action"], array
    )


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_truncation_is_noticed(tmp_path, counting_episode, kept):
    path = tmp_path / "e.npz"
    write_episode(path, counting_episode(0, 50))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedEpisodeError):
        read_layout(path)


def _without_middle(content: bytes) -> bytes:
    return content[:500] + content[900:]


def _zeroed_start(content: bytes) -> bytes:
    return bytes(500) + content[500:]


@pytest.mark.parametrize("damage", [_without_middle, _zeroed_start])
def test_other_damage_to_the_structure_is_noticed(tmp_path, counting_episode, damage):
    path = tmp_path / "e.npz"
    write_episode(path, counting_episode(0, 50))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedEpisodeError):
        read_layout(path)


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
def test_compressed_arrays_and_pickles_are_refused(tmp_path, save):
    array = np.zeros(4) if save is np.savez_compressed else np.array([{}, {}])
    save(tmp_path / "e.npz", action=array)
    with pytest.raises(DamagedEpisodeError):
        read_layout(tmp_path / "e.npz")


def test_signature_is_that_of_one_element(tmp_path: Path, counting_episode):
    episode = counting_episode(0, 9)
    write_episode(tmp_path / "e.npz", episode)
    assert signature_of(episode) == signature_of(read_layout(tmp_path / "e.npz"))
    assert signature_of(episode)["image"] == "uint8[3, 5, 3]"
