"""Short measurements of a machine: pictures, products, gradient steps, actions."""

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.make import make_agent
from dreamer.config import Config, EnvConfig
from dreamer.envs import EnvSpec, make_env


@dataclass(frozen=True)
class AgentCost:
    """Seconds of one `update` and of one `action`, and the bytes of one `checkpoint`."""

    update: float
    action: float
    checkpoint: int


def seconds_per_call(
    call: Callable[[], object], device: torch.device | None = None, budget: float = 2.0
) -> float:
    """Return the median time of a call over `budget` seconds, at least one, after a warm-up."""
    times: list[float] = []
    _timed(call, device)  # It allocates, compiles and chooses kernels.
    while sum(times) < budget:
        times.append(_timed(call, device))
    return statistics.median(times)


def time_decision(config: EnvConfig) -> float:
    """Return the seconds of one decision: the physics of `action_repeat` frames and one picture."""
    env = make_env(config)
    try:
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape or (), np.float32)

        def step() -> None:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

        return seconds_per_call(step, budget=1.0)
    finally:
        env.close()


def time_agent(spec: EnvSpec, config: Config) -> AgentCost:
    """Measure the agent that `config` names on random data of the right shapes."""
    agent = make_agent(spec, config)
    batch = random_batch(spec, config.replay.batch_size, config.replay.batch_length, agent.device)
    update = seconds_per_call(lambda: agent.update(batch), agent.device)
    obs = {key: batch[key][:1, 0].cpu().numpy() for key in (*spec.images, *spec.vectors)}
    state, generator = agent.initial_state(1), torch.Generator(agent.device)
    act = seconds_per_call(lambda: agent.policy(obs, state, True, generator), agent.device, 0.5)
    saved = io.BytesIO()
    torch.save(agent.state_dict(), saved)
    return AgentCost(update, act, saved.tell())


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


def _timed(call: Callable[[], object], device: torch.device | None) -> float:
    start = time.perf_counter()
    call()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
