"""A batch from the replay: drawn from episodes on disk, and brought to the device."""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dreamer.bench.figure import Figure, Stopwatch, Variant
from dreamer.bench.work import Roof, Work, bytes_of
from dreamer.config import Config
from dreamer.replay.device_replay import DeviceReplay
from dreamer.replay.episode_file import Episode
from dreamer.replay.feed import to_device
from dreamer.replay.make import make_feed, make_sampler
from dreamer.replay.store import EpisodeStore
from dreamer.results.timing import copy_speed
from dreamer.types import EnvSpec

REPLAY = "replay"
EPISODES = 20
ENDLESS = 10**9
"""Batches asked of the feed; it draws one ahead and no more."""


def replay(spec: EnvSpec, config: Config, device: torch.device, repeats: int) -> Iterator[Figure]:
    """A batch drawn, and a batch handed out on `device` as a run does it."""
    environment = config.environment
    length = 1 + max(1, environment.time_limit // environment.repeat)
    roof = Roof(math.inf, copy_speed(torch.device("cpu")))
    on_cpu = Stopwatch(Variant("cpu"), roof, repeats)
    on_device = Stopwatch(Variant(device.type), repeats=repeats)
    with tempfile.TemporaryDirectory(prefix="dreamer-bench-") as directory:
        store = EpisodeStore(Path(directory))
        rng = np.random.default_rng(0)
        for _ in range(EPISODES):
            store.append(random_episode(spec, length, rng))
        sampler = make_sampler(config.replay, store)
        out = sampler.allocate()
        # Drawing copies a batch: each byte is read once and written once.
        work = Work(bytes=2 * bytes_of(to_device(out, "cpu").values()))
        yield on_cpu.measure(REPLAY, "sampling", lambda: sampler.sample(rng, out), work=work)
        feed = make_feed(config, spec, store, device)
        name = "batch gathered on the device" if isinstance(feed, DeviceReplay) else "batch on the device"
        batches = feed.iterate(rng, ENDLESS)
        yield on_device.measure(REPLAY, name, lambda: next(batches))
        batches.close()


def random_episode(spec: EnvSpec, length: int, rng: np.random.Generator) -> Episode:
    """Return an episode of `length` elements, of the shapes of this environment's, all of it noise."""
    images = {
        key: rng.integers(0, 256, (length, *shape), dtype=np.uint8) for key, shape in spec.images.items()
    }
    vectors = {key: rng.standard_normal((length, size), np.float32) for key, size in spec.vectors.items()}
    return {
        **images,
        **vectors,
        "action": rng.uniform(-1, 1, (length, spec.action.size)).astype(np.float32),
        "reward": rng.standard_normal(length, np.float32),
        "discount": np.ones(length, np.float32),
    }
