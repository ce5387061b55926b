"""Choose where batches are gathered (`--replay-device`), and whether they are read ahead (`--fast`)."""

import math

import torch

from dreamer.config import Config, ReplayConfig
from dreamer.errors import UserError
from dreamer.replay.device_replay import DeviceReplay
from dreamer.replay.feed import DiskFeed, Feed, Prefetcher
from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import EpisodeStore
from dreamer.replay.transitions import TransitionSampler
from dreamer.types import EnvSpec, Transitions

LARGEST_SHARE = 1 / 3
"""Largest share of the free GPU memory that `auto` takes, because networks and other runs need memory, too."""


def make_feed(
    config: Config,
    spec: EnvSpec,
    store: EpisodeStore,
    device: torch.device,
    transitions: Transitions | None = None,
) -> Feed:
    """Return the feed of batches of `store` on `device`: gathered there, or read from disk (`--replay-device`).

    Rows are sequences, or `transitions` if the algorithm learns from those.

    Raises `UserError` if `--replay-device device` was chosen and the GPU is too small for the replay.
    """
    sampler = make_sampler(config.replay, store, transitions)
    elements = planned_elements(config)
    needed, free = elements * bytes_per_agent_step(spec), free_gpu_memory(device)
    where = config.replay.replay_device
    if where == "device" and free is not None and needed > free:
        raise UserError(
            f"The replay of the whole run takes {needed / 2**30:.1f} GiB, and the GPU has {free / 2**30:.1f}"
            " GiB free: take --replay-device disk, or a smaller --replay-size."
        )
    if where == "device" or (where == "auto" and free is not None and needed <= LARGEST_SHARE * free):
        return DeviceReplay(sampler, device, elements)
    ahead = config.training.fast and not sampler.by_priority
    return (Prefetcher if ahead else DiskFeed)(sampler, device)


def make_sampler(
    config: ReplayConfig, store: EpisodeStore, transitions: Transitions | None = None
) -> SequenceSampler:
    """Return the sampler of a run."""
    if transitions is not None:
        return TransitionSampler(store, config.batch_size, transitions)
    return SequenceSampler(store, config.batch_size, config.batch_length, config.prioritize_ends)


def planned_elements(config: Config) -> int:
    """Return how many elements the replay will hold at most, if episodes last to the time limit."""
    repeat = config.environment.repeat
    steps = math.ceil(config.training.steps / repeat)
    steps = min(steps, config.replay.replay_size or steps)
    episode = max(1, config.environment.time_limit // repeat)
    return steps + steps // episode + 1  # every episode has an element before its first agent step


def bytes_per_agent_step(spec: EnvSpec) -> int:
    """Return the bytes that the replay keeps of one agent step: images are uint8, everything else is float32."""
    images = sum(height * width * channels for height, width, channels in spec.images.values())
    floats = sum(spec.vectors.values()) + spec.action.size + 2  # reward and discount
    return images + 4 * floats


def free_gpu_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a GPU, or None for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
