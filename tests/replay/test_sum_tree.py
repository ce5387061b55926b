"""The sum tree against plain sums and cumulative sums."""

import numpy as np
import pytest
from scipy import stats

from dreamer.replay.sum_tree import SumTree


def tree_of(priorities: list[float]) -> SumTree:
    tree = SumTree(len(priorities))
    tree[np.arange(len(priorities))] = np.array(priorities)
    return tree


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_total_is_the_sum_after_any_changes(size: int) -> None:
    rng, tree, plain = np.random.default_rng(size), SumTree(size), np.zeros(size)
    for _ in range(50):
        items = rng.integers(size, size=5)
        priorities = rng.random(5)
        tree[items] = priorities
        for item, priority in zip(items, priorities, strict=True):
            plain[item] = priority
        assert tree.total == pytest.approx(plain.sum(), rel=1e-14)
        np.testing.assert_array_equal(tree[:size], plain)


def test_total_does_not_drift() -> None:
    """Sums are made anew from what they are sums of: with all priorities 1 again, nothing is left over."""
    tree, rng = SumTree(64), np.random.default_rng(0)
    for _ in range(1000):
        tree[rng.integers(64, size=8)] = rng.random(8) * 1e6
    tree[np.arange(64)] = 1.0
    assert tree.total == 64


def test_item_found_is_where_the_cumulative_sum_passes_the_mass() -> None:
    priorities = np.random.default_rng(0).integers(0, 5, 37).astype(float)
    tree = tree_of(priorities.tolist())
    mass = np.arange(0, priorities.sum(), 0.5)
    expected = np.searchsorted(np.cumsum(priorities), mass, side="right")
    np.testing.assert_array_equal(tree.find(mass), expected)


def test_items_without_priority_are_never_found() -> None:
    tree = tree_of([0, 3, 0, 0, 2, 0, 0, 0, 0])
    above = np.nextafter(5, 0)
    assert tree.find(np.array([0.0, 2.9, 3.0, above, 5.0, 6.0])).tolist() == [1, 1, 4, 4, 4, 4]


def test_items_are_drawn_in_proportion() -> None:
    priorities = np.random.default_rng(3).random(50) ** 2
    priorities[7] = 0
    drawn = tree_of(priorities.tolist()).draw(100_000, np.random.default_rng(4))
    counts = np.bincount(drawn, minlength=50)
    assert counts[7] == 0
    some = priorities > 0
    expected = 100_000 * priorities[some] / priorities.sum()
    assert stats.chisquare(counts[some], expected).pvalue > 0.001
