"""Where batches are gathered: `--replay-device`, the plan for the whole run, and the memory that is free."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.replay import EpisodeStore, make
from dreamer.replay.device_replay import DeviceReplay
from dreamer.replay.feed import DiskFeed, Feed, Prefetcher
from dreamer.types import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(6))
NEEDED = 501_001 * (64 * 64 * 3 + 4 * (6 + 2))
"""Bytes of a million frames: 500,000 agent steps, and 1001 elements of resets."""


def _feed(tmp_path: Path, device: str, **options: Any) -> Feed:
    store = EpisodeStore(tmp_path)
    return make.make_feed(with_options(Config(), options), SPEC, store, torch.device(device))


def test_replay_on_a_cpu_reads_files(tmp_path):
    assert isinstance(_feed(tmp_path, "cpu"), Prefetcher)
    assert isinstance(_feed(tmp_path, "cpu", replay_device="disk"), Prefetcher)
    assert isinstance(_feed(tmp_path, "cpu", replay_device="device"), DeviceReplay)


def test_no_fast_reads_each_batch_when_it_is_asked_for(tmp_path):
    assert isinstance(_feed(tmp_path, "cpu", fast=False), DiskFeed)


@pytest.mark.parametrize(
    ("free", "kind"), [(3 * NEEDED + 3, DeviceReplay), (3 * NEEDED - 3, Prefetcher)], ids=["room", "none"]
)
def test_replay_lies_on_a_gpu_with_room(tmp_path, monkeypatch, free, kind):
    monkeypatch.setattr(make, "free_gpu_memory", lambda _: free)
    assert type(_feed(tmp_path, "cuda")) is kind
    assert isinstance(_feed(tmp_path, "cuda", replay_device="disk"), Prefetcher)
    assert isinstance(_feed(tmp_path, "cuda", replay_device="device"), DeviceReplay)
    assert isinstance(_feed(tmp_path, "cuda", replay_size=100_000), DeviceReplay)


def test_replay_on_a_gpu_that_is_too_small_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "free_gpu_memory", lambda _: NEEDED - 1)
    with pytest.raises(UserError, match=r"takes 5.7 GiB, and the GPU has 5.7 GiB free: take --replay-device"):
        _feed(tmp_path, "cuda", replay_device="device")


@pytest.mark.parametrize(
    ("options", "elements"),
    [
        ({}, 501_001),
        ({"action_repeat": 4, "time_limit": 400}, 250_000 + 2500 + 1),
        ({"replay_size": 1000}, 1000 + 2 + 1),
        ({"replay_size": 10**9}, 501_001),
        ({"time_limit": 1}, 1_000_001),
    ],
)
def test_elements_of_a_run(options, elements):
    assert make.planned_elements(with_options(Config(), options)) == elements


@pytest.mark.gpu
def test_free_memory_is_that_of_the_gpu():
    free = make.free_gpu_memory(torch.device("cuda"))
    assert free is not None
    assert 0 < free <= torch.cuda.get_device_properties("cuda").total_memory
    assert make.free_gpu_memory(torch.device("cpu")) is None
