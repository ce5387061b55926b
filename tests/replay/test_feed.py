"""Prefetching changes nothing but the time: the same batches, the generator in step with them."""

import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch

from dreamer.replay import EpisodeStore, SequenceSampler
from dreamer.replay.feed import Prefetcher, to_device


@pytest.fixture
def sampler(tmp_path, counting_episode) -> SequenceSampler:
    store = EpisodeStore(tmp_path)
    for number in range(10):
        store.append(counting_episode(number, 5 + 3 * number))
    return SequenceSampler(store, 4, 12)


def _assert_equal(batches, expected, device: str = "cpu") -> None:
    for batch, arrays in zip(batches, expected, strict=True):
        assert batch.keys() == arrays.keys()
        for key, array in arrays.items():
            assert batch[key].device.type == device
            torch.testing.assert_close(batch[key].cpu(), torch.from_numpy(array), rtol=0, atol=0)


def test_to_device_keeps_types_and_shapes(sampler):
    batch = sampler.sample(np.random.default_rng(0))
    tensors = to_device(batch, "cpu")
    assert tensors["image"].dtype == torch.uint8
    assert tensors["is_first"].dtype == torch.bool
    _assert_equal([tensors], [batch])


@pytest.mark.parametrize("n", [0, 1, 7])
def test_batches_and_generator_are_those_of_the_sampler(sampler, n):
    plain, prefetched = np.random.default_rng(3), np.random.default_rng(3)
    expected = [sampler.sample(plain) for _ in range(n)]
    _assert_equal(list(Prefetcher(sampler, "cpu").iterate(prefetched, n)), expected)
    assert prefetched.bit_generator.state == plain.bit_generator.state


class _FarAhead(ThreadPoolExecutor):
    """A thread that has always drawn the next batch before the present one is handed out."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        future = super().submit(fn, *args, **kwargs)
        wait([future])
        return future


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, _FarAhead])
def test_stopping_between_batches_and_going_on_gives_the_same_sequence(sampler, executor, monkeypatch):
    monkeypatch.setattr("dreamer.replay.feed.ThreadPoolExecutor", executor)
    plain, prefetched = np.random.default_rng(3), np.random.default_rng(3)
    expected = [sampler.sample(plain) for _ in range(6)]
    batches, feed = [], Prefetcher(sampler, "cpu")
    for batch in feed.iterate(prefetched, 6):
        batches.append(batch)
        if len(batches) == 2:
            break
    batches += feed.iterate(prefetched, 4)
    _assert_equal(batches, expected)


def test_the_thread_ends_with_the_batches(sampler):
    feed = Prefetcher(sampler, "cpu").iterate(np.random.default_rng(0), 5)
    next(feed)
    feed.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("replay")]


def test_errors_of_the_thread_reach_the_caller(sampler, tmp_path):
    shutil.rmtree(tmp_path)
    with pytest.raises(Exception, match="Cannot read the episode"):
        list(Prefetcher(sampler, "cpu").iterate(np.random.default_rng(0), 3))


@pytest.mark.gpu
def test_batches_reach_the_gpu_unmixed_while_it_lags_behind(sampler):
    plain, prefetched = np.random.default_rng(3), np.random.default_rng(3)
    expected = [sampler.sample(plain) for _ in range(50)]
    batches = []
    for batch in Prefetcher(sampler, "cuda").iterate(prefetched, 50):
        torch.cuda._sleep(5_000_000)  # the next copies queue up behind this
        batches.append(batch)
    _assert_equal(batches, expected, "cuda")
