"""Transitions: every one is drawn, with what lies around it, as often as its priority says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dreamer.errors import UserError
from dreamer.replay import Episode, EpisodeStore
from dreamer.replay.device_replay import DeviceReplay
from dreamer.replay.feed import DiskFeed
from dreamer.replay.sampler import NumpyBatch
from dreamer.replay.transitions import SMALLEST, TransitionSampler
from dreamer.types import Transitions

BEFORE, AFTER = 2, 3
MakeEpisode = Callable[[int, int], Episode]


class Replay:
    """A store whose episodes know their numbers, and a sampler of it."""

    def __init__(self, path: Path, make: MakeEpisode, lengths: list[int], rows: int = 64, **options: float):
        self.make, self.store = make, EpisodeStore(path, int(options.pop("capacity", 0)))
        self.added = 0
        self.add(*lengths)
        wanted = Transitions(BEFORE, AFTER, options.get("exponent", 1.0), options.get("correction", 1.0))
        self.sampler = TransitionSampler(self.store, rows, wanted)

    def add(self, *lengths: int) -> None:
        for length in lengths:
            self.store.append(self.make(self.added, length))
            self.added += 1


@pytest.fixture
def replay(tmp_path: Path, counting_episode: MakeEpisode) -> Callable[..., Replay]:
    return lambda lengths, **options: Replay(tmp_path, counting_episode, lengths, **options)


def begins(batch: NumpyBatch) -> list[tuple[int, int]]:
    """Number of the episode, and element, at which each transition begins."""
    return [divmod(int(x), 1000) for x in batch["reward"][:, BEFORE]]


def prefer(replay: Replay, priority: Callable[[int, int], float], rng: np.random.Generator) -> None:
    """Draw until every transition has got its priority."""
    for _ in range(100):
        drawn = begins(replay.sampler.sample(rng))
        replay.sampler.set_priorities(np.array([priority(*place) for place in drawn]))


def test_a_row_is_the_transition_and_its_surroundings(replay) -> None:
    batch = replay([20, 4, 2]).sampler.sample(np.random.default_rng(0))
    lengths = [20, 4, 2]
    for row, (number, start) in enumerate(begins(batch)):
        wanted = range(start - BEFORE, start + AFTER + 1)
        expected = [t if 0 <= t < lengths[number] else 0 for t in wanted]
        assert (batch["reward"][row] - 1000 * number).tolist() == expected
        assert batch["action"][row].tolist() == [[number, t] for t in expected]
        assert batch["is_first"][row].tolist() == [t == 0 for t in expected]


def test_every_element_but_the_last_begins_a_transition(replay) -> None:
    some, drawn = replay([5, 2, 9]), set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn |= set(begins(some.sampler.sample(rng)))
    assert drawn == {(n, t) for n, length in enumerate([5, 2, 9]) for t in range(length - 1)}


def test_an_empty_store_is_refused(replay) -> None:
    with pytest.raises(UserError, match="no episode"):
        replay([]).sampler.draw(np.random.default_rng(0))


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
def test_transitions_are_drawn_in_proportion_to_a_power_of_their_priorities(replay, exponent: float) -> None:
    some, rng = replay([4, 7], rows=200, exponent=exponent), np.random.default_rng(1)

    def priority(number: int, start: int) -> float:
        return 1 + 5 * number + start

    prefer(some, priority, rng)
    places = [(0, t) for t in range(3)] + [(1, t) for t in range(6)]
    counts = dict.fromkeys(places, 0)
    for _ in range(25):
        for place in begins(some.sampler.sample(rng)):
            counts[place] += 1
    powers = np.array([priority(*place) ** exponent for place in places])
    expected = 25 * 200 * powers / powers.sum()
    assert stats.chisquare(list(counts.values()), expected).pvalue > 0.001


def test_weights_undo_the_preference(replay) -> None:
    """Weighted with 1 / (N P), the mean over what is drawn is the mean over all transitions."""
    some, rng = replay([6], rows=64), np.random.default_rng(0)
    prefer(some, lambda _, start: 1.0 + start, rng)
    priorities = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + SMALLEST
    batch = some.sampler.sample(rng)
    starts = [start for _, start in begins(batch)]
    weights = 1 / (5 * priorities / priorities.sum())
    np.testing.assert_allclose(batch["weight"], (weights / weights[min(starts)])[starts], rtol=1e-6)


def test_weights_follow_their_exponent(replay) -> None:
    rng = np.random.default_rng(0)
    some = replay([6], rows=64, correction=0.5)
    prefer(some, lambda _, start: 1.0 + start, rng)
    batch = some.sampler.sample(rng)
    starts = np.array([start for _, start in begins(batch)])
    expected = ((1 + starts + SMALLEST) / (1 + starts.min() + SMALLEST)) ** -0.5
    np.testing.assert_allclose(batch["weight"], expected, rtol=1e-6)


def test_new_transitions_have_the_largest_priority_so_far(replay) -> None:
    some, rng = replay([11], rows=64), np.random.default_rng(0)
    prefer(some, lambda _, start: 7.0 if start == 3 else 1e-3, rng)
    some.add(3)
    counts: dict[tuple[int, int], int] = {}
    for _ in range(30):
        for place in begins(some.sampler.sample(rng)):
            counts[place] = counts.get(place, 0) + 1
    share = np.array([counts[place] for place in [(0, 3), (1, 0), (1, 1)]]) / (30 * 64)
    np.testing.assert_allclose(share, 1 / 3, atol=0.05)  # four standard errors


def test_evicted_transitions_are_not_drawn_and_the_others_keep_their_priorities(replay) -> None:
    some, rng = replay([5, 5], rows=64, capacity=8), np.random.default_rng(0)
    prefer(some, lambda number, start: 1.0 if (number, start) == (1, 2) else 0.0, rng)
    some.add(5)  # 12 decisions: the first episode is evicted
    drawn = [begins(some.sampler.sample(rng)) for _ in range(20)]
    assert {number for batch in drawn for number, _ in batch} == {1, 2}
    assert {start for batch in drawn for number, start in batch if number == 1} == {2}


def test_the_ring_goes_round_and_grows(replay) -> None:
    """Many more transitions pass through than there is room for: those drawn are always the live ones."""
    some, rng = replay([], rows=300, capacity=700), np.random.default_rng(0)
    lengths = np.random.default_rng(1).integers(2, 400, size=40).tolist()
    for length in lengths:
        some.add(length)
        drawn = begins(some.sampler.sample(rng))
        some.sampler.set_priorities(rng.random(300))
        live = set(some.store.ids.tolist())
        assert {number for number, _ in drawn} <= live
        assert all(start < lengths[number] - 1 for number, start in drawn)


def test_going_on_from_a_state_draws_the_same(replay, tmp_path: Path) -> None:
    some, rng = replay([9, 4, 30], rows=32, capacity=60), np.random.default_rng(0)
    for _ in range(5):
        some.sampler.sample(rng)
        some.sampler.set_priorities(rng.random(32))
        some.add(12)
    state, extent = some.sampler.state_dict(), some.store.extent()
    store = EpisodeStore(tmp_path, 60)
    again = TransitionSampler(store, 32, some.sampler.transitions)
    store.rewind(extent)
    again.load_state_dict(state)
    for _ in range(10):
        here, there = np.random.default_rng(5), np.random.default_rng(5)
        one, other = some.sampler.sample(here), again.sample(there)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
        priorities = rng.random(32)
        some.sampler.set_priorities(priorities)
        again.set_priorities(priorities)


def test_a_lost_episode_takes_its_priorities_along(replay, tmp_path: Path) -> None:
    some, rng = replay([5, 5, 5], rows=64), np.random.default_rng(0)
    prefer(some, lambda number, start: 1.0 if (number, start) in {(1, 1), (2, 3)} else 0.0, rng)
    state, extent = some.sampler.state_dict(), some.store.extent()
    broken = next(tmp_path.glob("episode-00000001-*"))
    broken.write_bytes(broken.read_bytes()[:100])
    store = EpisodeStore(tmp_path)
    store.rewind(extent)
    again = TransitionSampler(store, 64, some.sampler.transitions)
    again.load_state_dict(state)
    assert set(begins(again.sample(rng))) == {(2, 3)}


@pytest.mark.parametrize("kind", ["disk", "device"])
def test_feeds_hand_out_what_the_sampler_draws(replay, kind: str) -> None:
    some = replay([9, 4, 30], rows=16)
    feed = DiskFeed(some.sampler, "cpu") if kind == "disk" else DeviceReplay(some.sampler, "cpu", 50)
    rng, plain = np.random.default_rng(0), np.random.default_rng(0)
    other = TransitionSampler(some.store, 16, some.sampler.transitions)
    for number, batch in enumerate(feed.iterate(rng, 4)):
        expected = other.sample(plain)
        assert batch.keys() == expected.keys()
        for key, tensor in batch.items():
            np.testing.assert_array_equal(tensor.numpy(), expected[key])
        assert rng.bit_generator.state == plain.bit_generator.state
        for sampler in (feed.sampler, other):  # what is learned counts in the next batch
            sampler.set_priorities(np.arange(16) + float(number))


def test_transitions_of_a_damaged_episode_are_left_out(replay, tmp_path: Path) -> None:
    drawn = replay([20, 20, 20])
    rng = np.random.default_rng(0)
    prefer(drawn, lambda number, _: float(1 + number), rng)
    path = tmp_path / "episode-00000001-20.npz"
    path.write_bytes(path.read_bytes()[:-700])
    found = {number for _ in range(20) for number, _ in begins(drawn.sampler.sample(rng))}
    assert found == {0, 2}
    drawn.add(20)
    assert {number for _ in range(20) for number, _ in begins(drawn.sampler.sample(rng))} == {0, 2, 3}
    drawn.sampler.load_state_dict(drawn.sampler.state_dict())
    assert {number for _ in range(20) for number, _ in begins(drawn.sampler.sample(rng))} == {0, 2, 3}
