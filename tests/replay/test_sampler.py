"""Sequences: uniform over episodes and windows, to the last element, short episodes packed."""

import numpy as np
import pytest
from scipy.stats import chisquare

from dreamer.errors import UserError
from dreamer.replay import EpisodeStore, SequenceSampler


@pytest.fixture
def make_sampler(tmp_path, counting_episode):
    def make(lengths, size: int, length: int, prioritize_ends: bool = False, **options) -> SequenceSampler:
        store = EpisodeStore(tmp_path, **options)
        for number, elements in enumerate(lengths):
            store.append(counting_episode(number, elements))
        return SequenceSampler(store, size, length, prioritize_ends)

    return make


def _origins(batch) -> tuple[np.ndarray, np.ndarray]:
    """Episode number and element of everything in a batch."""
    reward = batch["reward"].astype(int)
    return reward // 1000, reward % 1000


def test_shapes_and_types(make_sampler):
    batch = make_sampler([20, 30], 4, 7).sample(np.random.default_rng(0))
    assert {key: (array.shape, array.dtype.name) for key, array in batch.items()} == {
        "image": ((4, 7, 3, 5, 3), "uint8"),
        "action": ((4, 7, 2), "float32"),
        "reward": ((4, 7), "float32"),
        "discount": ((4, 7), "float32"),
        "is_first": ((4, 7), "bool"),
    }


def test_rows_are_windows_with_all_keys_aligned(make_sampler):
    batch = make_sampler([20, 30, 10], 64, 10).sample(np.random.default_rng(0))
    number, t = _origins(batch)
    assert (number == number[:, :1]).all()
    assert (np.diff(t, axis=1) == 1).all()
    np.testing.assert_array_equal(batch["action"], np.stack([number, t], -1))
    np.testing.assert_array_equal(batch["image"][..., 0, 0, 0], number * 7 + t)
    np.testing.assert_array_equal(batch["is_first"], t == 0)


def test_episodes_and_windows_are_uniform_and_the_last_element_is_reached(make_sampler):
    lengths = [10, 12, 31, 17]
    sampler = make_sampler(lengths, 500, 10)
    rng = np.random.default_rng(0)
    starts = [_origins(sampler.sample(rng)) for _ in range(40)]
    number = np.concatenate([n[:, 0] for n, _ in starts])
    start = np.concatenate([t[:, 0] for _, t in starts])
    assert chisquare(np.bincount(number, minlength=4)).pvalue > 0.01
    for episode, length in enumerate(lengths):
        counts = np.bincount(start[number == episode])
        assert len(counts) == length - 10 + 1  # windows 0..n-L, the last one included
        if len(counts) > 1:
            assert chisquare(counts).pvalue > 0.01


def test_prioritized_ends_are_drawn_no_less_often_than_the_middle(make_sampler):
    sampler = make_sampler([51], 2000, 10, prioritize_ends=True)
    rng = np.random.default_rng(0)
    batches = [sampler.sample(rng) for _ in range(10)]
    elements = np.concatenate([batch["reward"] for batch in batches]).astype(int)
    counts = np.bincount(elements.ravel(), minlength=51)
    share = counts / counts[20:31].mean()
    assert share.min() > 0.95
    # Starts are uniform over 60 values, those up to 0 and from 41 on moved to 0 and 41: ten of them each.
    starts = np.bincount(elements[:, 0], minlength=42)
    assert chisquare(starts, 20_000 / 60 * np.array([10, *[1] * 40, 10])).pvalue > 0.01
    np.testing.assert_array_equal(batches[0]["is_first"], batches[0]["reward"] == 0)


def test_short_episodes_are_packed_with_prioritized_ends_too(make_sampler):
    batch = make_sampler([3, 5], 50, 20, prioritize_ends=True).sample(np.random.default_rng(0))
    number, t = _origins(batch)
    assert not t[:, 0].any()
    assert set(np.unique(number)) == {0, 1}


def test_short_episodes_are_packed(make_sampler):
    lengths = [3, 5, 1, 12, 40]
    batch = make_sampler(lengths, 400, 20).sample(np.random.default_rng(0))
    number, t = _origins(batch)
    follows = (np.diff(t, axis=1) == 1) & (np.diff(number, axis=1) == 0)
    np.testing.assert_array_equal(batch["is_first"], t == 0)
    # A seam is exactly where an episode begins, right after the last element of the one before.
    np.testing.assert_array_equal(~follows, batch["is_first"][:, 1:])
    last = np.array(lengths)[number] - 1
    assert (t[:, :-1][~follows] == last[:, :-1][~follows]).all()
    # Only the long episode, when first in its row, may begin in its middle.
    assert (number[:, 0][t[:, 0] > 0] == 4).all()
    assert set(np.unique(number)) == set(range(5))
    begun = number[batch["is_first"] & (np.arange(20) > 0)]
    assert chisquare(np.bincount(begun, minlength=5)).pvalue > 0.01


def test_first_and_middle_windows_differ_in_is_first(make_sampler):
    batch = make_sampler([11], 100, 10).sample(np.random.default_rng(0))
    starts_at_reset = batch["reward"][:, 0] == 0
    assert 0 < starts_at_reset.sum() < 100
    np.testing.assert_array_equal(batch["is_first"][:, 0], starts_at_reset)
    assert not batch["is_first"][:, 1:].any()


def test_out_is_filled_anew(make_sampler):
    sampler = make_sampler([3, 20], 8, 10)
    fresh = sampler.sample(np.random.default_rng(1))
    out = sampler.allocate()
    for array in out.values():
        array[...] = 1
    assert sampler.sample(np.random.default_rng(1), out) is out
    for key, array in fresh.items():
        np.testing.assert_array_equal(out[key], array)


def test_new_episodes_are_drawn_and_evicted_ones_are_not(make_sampler, counting_episode):
    sampler = make_sampler([11, 11], 200, 10, capacity=20)
    sampler.store.append(counting_episode(2, 11))
    number, _ = _origins(sampler.sample(np.random.default_rng(0)))
    assert set(np.unique(number)) == {1, 2}


def test_an_empty_store_is_a_user_error(make_sampler):
    with pytest.raises(UserError, match="no episode"):
        make_sampler([], 2, 2).sample(np.random.default_rng(0))
