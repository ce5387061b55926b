"""Measure a gradient step in every mode: plain, fast, and on a GPU also fast as one CUDA graph.

The modes take turns, so their ratio is right even if the speed of the machine varies. Settings of `fast` for the whole
process (it keeps freed memory, cuDNN tries out its kernels) affect all modes; `--no-fast` measures plain updates
without them.
"""

from collections.abc import Callable, Iterator

import torch

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.bench.measurement import Measurement, Timer
from dreamer.bench.random_data import batch_for
from dreamer.bench.roofline import count_flops
from dreamer.config import Config, with_options
from dreamer.fast.cuda_graph import warm_up
from dreamer.machine import peak_memory, reset_peak_memory
from dreamer.types import Batch, EnvSpec, Metrics

GROUP = "gradient step"


def update_modes(config: Config, device: torch.device) -> tuple[str, ...]:
    """Return the modes to measure; the last is the one that training takes."""
    modes = ("plain", "fast", "CUDA graph") if device.type == "cuda" else ("plain", "fast")
    return modes if config.training.fast else ("plain",)


def make_step(spec: EnvSpec, config: Config, mode: str, batch: Batch) -> Callable[[], Metrics]:
    """Return the gradient step of a new agent on `batch` in one of the modes, warmed up."""
    agent = make_agent(spec, with_options(config, {"fast": mode != "plain"}))
    if mode != "CUDA graph":
        return lambda: Agent.update(agent, batch)  # no graph, on a GPU too
    warm_up(agent, batch)
    return lambda: agent.update(batch)


def gradient_steps(timer: Timer, spec: EnvSpec, config: Config) -> Iterator[Measurement]:
    """Measure a gradient step on random data in every mode, how much quicker than plain it is, and its memory."""
    batch = batch_for(make_agent(spec, config), config.replay)
    *others, own = update_modes(config, timer.device)
    reset_peak_memory(timer.device)
    steps = {own: make_step(spec, config, own, batch)}
    steps[own]()
    memory = peak_memory(timer.device)
    steps = {mode: make_step(spec, config, mode, batch) for mode in others} | steps
    flops, times = count_flops(steps["plain"]), timer.alternate(steps)
    for mode in steps:
        yield timer.summary(GROUP, mode, times[mode], flops=flops)
    for mode in [*steps][1:]:
        ratios = [plain / quicker for plain, quicker in zip(times["plain"], times[mode], strict=True)]
        yield timer.summary(GROUP, f"plain / {mode}", ratios, "times")
    for name, count in memory.items():
        yield timer.summary(GROUP, name, [count], "bytes")
