"""The replay on the device hands out what the sampler does, whatever happens to the store."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dreamer.errors import UserError
from dreamer.replay import EpisodeStore, SequenceSampler
from dreamer.replay.device_replay import DeviceReplay
from dreamer.replay.feed import Prefetcher

LENGTHS = (20, 3, 12, 1, 31, 5)  # rows of 12: windows, whole episodes, and rows packed of several


@pytest.fixture
def make_store(tmp_path, counting_episode) -> Callable[..., EpisodeStore]:
    def make(lengths=LENGTHS, **options) -> EpisodeStore:
        store = EpisodeStore(tmp_path, **options)
        for number, length in enumerate(lengths):
            store.append(counting_episode(number, length))
        return store

    return make


def _assert_same_batches(replay: DeviceReplay, n: int = 5, device: str = "cpu") -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    pairs = zip(Prefetcher(replay.sampler, "cpu").iterate(one, n), replay.iterate(other, n), strict=True)
    for expected, batch in pairs:
        assert batch.keys() == expected.keys()
        for key, tensor in expected.items():
            assert batch[key].device.type == device
            assert batch[key].dtype == tensor.dtype
            assert torch.equal(batch[key].cpu(), tensor), key
        assert other.bit_generator.state == one.bit_generator.state


@pytest.mark.parametrize("slots", [1, 50, sum(LENGTHS), 1000])
def test_batches_are_those_of_the_prefetcher(make_store, slots):
    replay = DeviceReplay(SequenceSampler(make_store(), 16, 12), "cpu", slots)
    _assert_same_batches(replay)
    assert replay.slots == slots if slots >= sum(LENGTHS) else replay.slots >= sum(LENGTHS)


def test_stopping_between_batches_and_going_on_gives_the_same_sequence(make_store):
    sampler = SequenceSampler(make_store(), 4, 12)
    plain, rng, batches = np.random.default_rng(3), np.random.default_rng(3), []
    replay = DeviceReplay(sampler, "cpu", 100)
    for batch in replay.iterate(rng, 6):
        batches.append(batch)
        if len(batches) == 2:
            break
    batches += replay.iterate(rng, 4)
    for batch in batches:
        assert all(np.array_equal(batch[key], array) for key, array in sampler.sample(plain).items())


def test_new_episodes_are_followed(make_store, counting_episode):
    store = make_store()
    replay = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", sum(LENGTHS) + 10)
    for number in range(6, 12):
        _assert_same_batches(replay)
        store.append(counting_episode(number, 7 + number))


@pytest.mark.parametrize("slots", [64, 70, 131])
def test_evicted_episodes_make_room_around_the_ring(make_store, counting_episode, slots):
    """With 60 agent steps at a time, of episodes of 1 to 23 elements, the ring goes round several times."""
    store = make_store(capacity=60)
    replay, lengths = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", slots), np.random.default_rng(0)
    for number in range(6, 60):
        store.append(counting_episode(number, int(lengths.integers(1, 24))))
        _assert_same_batches(replay, 2)
    assert replay.slots <= max(slots, 120)


def test_several_appends_and_evictions_between_two_looks(make_store, counting_episode):
    store = make_store(capacity=60)
    replay = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", 70)
    _assert_same_batches(replay)
    for number in range(6, 30):
        store.append(counting_episode(number, 10))
    _assert_same_batches(replay)


def test_a_rewound_store_is_copied_anew(make_store, counting_episode):
    """An id that comes again stands for another episode, and evicted ones may be back."""
    store = make_store(capacity=60)
    replay, extent = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", 100), store.extent()
    for number in range(6, 9):
        store.append(counting_episode(number, 10))
    _assert_same_batches(replay)
    store.rewind(extent)
    for number in range(20, 23):
        store.append(counting_episode(number, 10))
    _assert_same_batches(replay)
    store.rewind(extent)
    _assert_same_batches(replay)


def test_a_store_found_on_disk_is_copied(make_store, tmp_path):
    make_store()
    found = EpisodeStore(tmp_path)
    _assert_same_batches(DeviceReplay(SequenceSampler(found, 16, 12), "cpu", 100))


def test_batches_stay_what_they_were(make_store, counting_episode):
    store = make_store(capacity=60)
    replay = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", 64)
    batch = replay.sample(np.random.default_rng(0))
    before = {key: tensor.clone() for key, tensor in batch.items()}
    for number in range(6, 20):
        store.append(counting_episode(number, 10))
        replay.sample(np.random.default_rng(0))
    assert all(torch.equal(batch[key], tensor) for key, tensor in before.items())


def test_an_empty_store_is_a_user_error(make_store):
    with pytest.raises(UserError, match="no episode"):
        DeviceReplay(SequenceSampler(make_store([]), 2, 2), "cpu", 10).sample(np.random.default_rng(0))


def test_too_little_memory_is_a_user_error(make_store):
    replay = DeviceReplay(SequenceSampler(make_store(), 2, 2), "cpu", 2**50)
    with pytest.raises(UserError, match=r"does not fit into the memory of cpu .* --replay-device disk"):
        replay.sample(np.random.default_rng(0))


@pytest.mark.gpu
def test_batches_on_the_gpu_while_it_lags_behind(make_store, counting_episode):
    store = make_store(capacity=60)
    replay = DeviceReplay(SequenceSampler(store, 16, 12), "cuda", 70)
    sampler, plain, rng = replay.sampler, np.random.default_rng(3), np.random.default_rng(3)
    batches, expected = [], []
    for number in range(6, 26):
        torch.cuda._sleep(5_000_000)  # copies, gathers and overwritten episodes queue up behind this
        batches.append(replay.sample(rng))
        expected.append(sampler.sample(plain))
        store.append(counting_episode(number, 10))
    for batch, arrays in zip(batches, expected, strict=True):
        assert all(np.array_equal(batch[key].cpu(), array) for key, array in arrays.items())


@pytest.mark.parametrize("bad", [0, 2, 5])
def test_a_damaged_episode_is_left_out(make_store, tmp_path, bad):
    store = make_store()
    (path,) = tmp_path.glob(f"episode-0000000{bad}-*.npz")
    path.write_bytes(path.read_bytes()[:-300])
    replay = DeviceReplay(SequenceSampler(store, 16, 12), "cpu", 100)
    batches = list(replay.iterate(np.random.default_rng(0), 20))
    numbers = {int(x) for batch in batches for x in batch["action"][..., 0].flatten()}
    assert numbers == {0, 1, 2, 3, 4, 5} - {bad}
    assert store.ids.tolist() == sorted(numbers)
    _assert_same_batches(replay)
