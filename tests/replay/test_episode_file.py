"""Episode files: plain archives, read whole or in windows, and all damage noticed."""

from pathlib import Path

import numpy as np
import pytest

from dreamer.replay.episode_file import (
    DamagedEpisodeError,
    Episode,
    read_episode,
    read_head,
    read_layout,
    read_window,
    signature_of,
    write_episode,
)

BITS = 400
"""How many single bits are altered, one at a time."""


def test_plain_numpy_reads_the_file(tmp_path, counting_episode):
    episode = counting_episode(3, 17)
    write_episode(tmp_path / "e.npz", episode)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(episode)
        for key, array in episode.items():
            np.testing.assert_array_equal(archive[key], array)
            assert archive[key].dtype == array.dtype


def test_whole_episode_equals_the_one_written(tmp_path, counting_episode):
    episode = counting_episode(3, 17)
    write_episode(tmp_path / "e.npz", episode)
    equal(read_episode(tmp_path / "e.npz"), episode)


def equal(one: Episode, other: Episode) -> None:
    assert one.keys() == other.keys()
    for key, array in other.items():
        np.testing.assert_array_equal(one[key], array)
        assert one[key].dtype == array.dtype


@pytest.mark.parametrize(("start", "length"), [(0, 17), (0, 1), (5, 9), (16, 1)])
def test_windows_equal_slices(tmp_path, counting_episode, start, length):
    path, episode = tmp_path / "e.npz", counting_episode(3, 17)
    write_episode(path, episode)
    out = {key: np.zeros((2, 20, *array.shape[1:]), array.dtype) for key, array in episode.items()}
    with path.open("rb") as file:
        read_window(file.fileno(), read_layout(path), start, out, (1, slice(2, 2 + length)))
    for key, array in episode.items():
        np.testing.assert_array_equal(out[key][1, 2 : 2 + length], array[start : start + length])
        assert not out[key][0].any()
        assert not out[key][1, :2].any()
        assert not out[key][1, 2 + length :].any()


def test_a_window_of_a_file_that_is_cut_short_is_refused(tmp_path, counting_episode):
    path, episode = tmp_path / "e.npz", counting_episode(3, 17)
    write_episode(path, episode)
    layout, out = read_layout(path), {key: np.zeros_like(array) for key, array in episode.items()}
    with path.open("r+b") as file:
        read_window(file.fileno(), layout, 0, out, ...)
        equal(out, episode)
        file.truncate(1000)
        with pytest.raises(DamagedEpisodeError, match="cut short"):
            read_window(file.fileno(), layout, 0, out, ...)


def test_archives_of_numpy_itself_are_read_too(tmp_path, counting_episode):
    episode = counting_episode(1, 5)
    np.savez(tmp_path / "e.npz", **episode)
    equal(read_episode(tmp_path / "e.npz"), episode)


@pytest.mark.parametrize("array", [np.asfortranarray(np.arange(12.0).reshape(4, 3)), np.arange(24)[::2]])
def test_any_memory_order_can_be_written(tmp_path, array):
    write_episode(tmp_path / "e.npz", {"action": array})
    np.testing.assert_array_equal(read_episode(tmp_path / "e.npz")["action"], array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_damage(tmp_path, counting_episode, value):
    episode = counting_episode(1, 5)
    episode["reward"][3] = value
    write_episode(tmp_path / "e.npz", episode)
    with pytest.raises(DamagedEpisodeError, match="reward has numbers that are not finite"):
        read_episode(tmp_path / "e.npz")


@pytest.mark.parametrize("what", ["the arrays", "the structure"])
def test_an_altered_bit_is_noticed_or_alters_nothing(tmp_path, counting_episode, what):
    path, episode = tmp_path / "e.npz", counting_episode(3, 60)
    write_episode(path, episode)
    content, head = path.read_bytes(), read_head(path)
    inside = np.zeros(len(content), bool)
    for member in head.layout:
        inside[member.offset : member.offset + member.nbytes] = True
    bits = np.flatnonzero(np.repeat(inside if what == "the arrays" else ~inside, 8))
    noticed = 0
    for bit in np.random.default_rng(0).choice(bits, BITS, replace=False).tolist():
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        try:
            equal(read_episode(path, head), episode)
        except DamagedEpisodeError:
            noticed += 1
    # The structure has bytes that mean nothing: times, padding, a second copy of the checksums.
    assert noticed == BITS if what == "the arrays" else noticed > BITS / 3


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
