"""Short measurements of a machine: pictures, products, gradient steps, actions."""

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.captured import get_ready, make_update
from dreamer.agents.make import make_agent
from dreamer.config import Config, EnvConfig
from dreamer.envs import EnvSpec, make_env, spec_of


@dataclass(frozen=True)
class AgentCost:
    """Seconds of one `update` and of one `action`, and the bytes of one `checkpoint`."""

    update: float
    action: float
    checkpoint: int


MOST_CALLS = 10_000
"""Of a call that takes next to no time, more tell nothing more."""


def seconds_per_call(
    call: Callable[[], object], device: torch.device | None = None, budget: float = 2.0
) -> float:
    """Return the median time of a call over `budget` seconds, at least one, after a warm-up."""
    return statistics.median(call_times(call, device, budget))


def call_times(
    call: Callable[..., object],
    device: torch.device | None = None,
    budget: float = 2.0,
    least: int = 1,
    prepare: Callable[[], tuple[Any, ...]] = tuple,
) -> list[float]:
    """Return the seconds of single calls after a warm-up: `least` of them, and more until `budget` is spent.

    `prepare` gives the arguments of each call; its own time does not count.
    """
    times: list[float] = []
    _timed(call, prepare(), device)  # It allocates, compiles and chooses kernels.
    spent = 0.0
    while len(times) < least or (spent < budget and len(times) < MOST_CALLS):
        times.append(_timed(call, prepare(), device))
        spent += times[-1]
    return times


def time_decision(config: EnvConfig) -> float:
    """Return the seconds of one decision: the physics of `action_repeat` frames and one picture."""
    with decisions(config) as decide:
        return seconds_per_call(decide, budget=1.0)


@contextlib.contextmanager
def decisions(config: EnvConfig) -> Iterator[Callable[[], object]]:
    """Make an environment and yield a function that takes one decision in it, for episode after episode."""
    env = make_env(config)
    try:
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape or (), np.float32)

        def decide() -> None:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

        yield decide
    finally:
        env.close()


def environment_spec(config: EnvConfig) -> EnvSpec:
    """Return what an environment shows and takes, by making one for a moment."""
    env = make_env(config)
    try:
        return spec_of(env)
    finally:
        env.close()


def time_agent(spec: EnvSpec, config: Config) -> AgentCost:
    """Measure the agent that `config` names on random data of the right shapes."""
    agent = make_agent(spec, config)
    batch = random_batch(spec, config.replay.batch_size, config.replay.batch_length, agent.device)
    update = make_update(agent, config.training.fast)  # as a run takes it
    get_ready(update, batch)
    seconds = seconds_per_call(lambda: update(batch, "all"), agent.device)
    obs = {key: batch[key][:1, 0].cpu().numpy() for key in (*spec.images, *spec.vectors)}
    state, generator = agent.initial_state(1), torch.Generator(agent.device)
    act = seconds_per_call(lambda: agent.policy(obs, state, True, generator), agent.device, 0.5)
    saved = io.BytesIO()
    torch.save(agent.state_dict(), saved)
    return AgentCost(seconds, act, saved.tell())


def random_batch(spec: EnvSpec, batch_size: int, length: int, device: torch.device) -> dict[str, Tensor]:
    """Return a batch `(B, L, ...)` of noise that an agent for `spec` can be updated with."""
    random = torch.Generator().manual_seed(0)
    lead = (batch_size, length)
    batch = {
        key: torch.randint(0, 256, (*lead, *shape), generator=random, dtype=torch.uint8)
        for key, shape in spec.images.items()
    }
    batch |= {key: torch.randn(*lead, size, generator=random) for key, size in spec.vectors.items()}
    batch["action"] = torch.rand(*lead, spec.action.size, generator=random) * 2 - 1
    batch["reward"] = torch.randn(lead, generator=random)
    batch["discount"] = torch.ones(lead)
    batch["is_first"] = torch.zeros(lead, dtype=torch.bool)
    return {key: value.to(device) for key, value in batch.items()}


def product_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Return the speed of large matrix products in TFLOP/s."""
    size = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / seconds_per_call(lambda: matrix @ matrix, device, 0.3) / 1e12


def copy_speed(device: torch.device, size: int = 2**28) -> float:
    """Return how many bytes a second a copy of `size` bytes reads and writes, both counted."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_per_call(lambda: target.copy_(source), device, 0.3)


def _timed(call: Callable[..., object], arguments: tuple[Any, ...], device: torch.device | None) -> float:
    cuda = device is not None and device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)  # What was asked for before is not this call's.
    start = time.perf_counter()
    call(*arguments)
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
