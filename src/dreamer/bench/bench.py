"""The whole bench: everything that `dreamer bench` measures, in order."""

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.bench.acting import acting
from dreamer.bench.environment import environment
from dreamer.bench.figure import Figure, Stopwatch, Variant
from dreamer.bench.gradient_step import stages, total
from dreamer.bench.memory import peaks, reset_peaks
from dreamer.bench.networks import networks
from dreamer.bench.paths import UpdatePath, paths_for
from dreamer.bench.replay import replay
from dreamer.bench.report import Report
from dreamer.bench.stretch import train_a_stretch
from dreamer.bench.work import measure_roof
from dreamer.config import Config, to_flat, with_options
from dreamer.envs import EnvSpec
from dreamer.errors import UserError
from dreamer.results.doctor import cores, memory_bytes, size
from dreamer.results.timing import environment_spec, random_batch
from dreamer.storage.machine import processor
from dreamer.training.host_memory import keep_freed_memory

Precision = Literal["float32", "bfloat16"]
Subject = Literal["update", "parts", "acting", "environment", "replay", "training"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
LEARNING = {"update", "parts", "acting", "training"}
"""Subjects that depend on the precision."""


@dataclass(frozen=True)
class Extent:
    """How much is measured; without `precisions` the run's own."""

    repeats: int = 10
    rounds: int = 5
    precisions: tuple[Precision, ...] = ()
    subjects: tuple[Subject, ...] = SUBJECTS


def run_bench(config: Config, extent: Extent, keep: Path | None = None) -> Report:
    """Measure the run of `config` on this machine; writes nothing but temporary files.

    With `keep`, all that has been measured is in that file after every figure, in case the rest is not to be.

    Raises:
        UserError: The agent learns nothing, or as making the environment and the agent does.
    """
    if config.behavior.agent == "random":
        raise UserError("There is nothing to measure of --agent random: take another --agent.")
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    device = pick_device(config.training.device)
    keep_freed_memory()  # as training does
    machine, figures = describe_machine(device), []
    report = Report(machine, to_flat(config), figures)
    for figure in _figures(config, device, extent, machine):
        figures.append(figure)
        report = Report(machine, to_flat(config), _in_groups(figures))
        if keep is not None:
            report.write(keep)
    return report


def _figures(
    config: Config, device: torch.device, extent: Extent, machine: dict[str, Any]
) -> Iterator[Figure]:
    """All figures, those first that matter most; `machine` is told what is found out about it."""
    spec = environment_spec(config.environment)
    own = _name(pick_dtype(config.training.precision, device))
    precisions = (extent.precisions or (own,)) if LEARNING & {*extent.subjects} else ()
    for precision in precisions[:1]:
        yield from _learning(with_options(config, {"precision": precision}), spec, extent, machine)
    if "environment" in extent.subjects:
        yield from environment(config.environment, extent.repeats)
    if "replay" in extent.subjects:
        yield from replay(spec, config, device, extent.repeats)
    for precision in precisions[1:]:
        yield from _learning(with_options(config, {"precision": precision}), spec, extent, machine)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on besides the program."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": gpu,
        "processor": processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "memory in all": size(memory_bytes()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _learning(config: Config, spec: EnvSpec, extent: Extent, machine: dict[str, Any]) -> Iterator[Figure]:
    """What depends on the precision: the gradient step by every path, training, acting, parts of the step."""
    device, precision = pick_device(config.training.device), config.training.precision
    roof = measure_roof(device, precision)
    machine[f"{precision} products"] = f"{roof.flops_per_s / 1e12:.3g} TFLOP/s"
    machine["copies of memory"] = f"{roof.bytes_per_s / 1e9:.3g} GB/s"
    paths = paths_for(device, config.training.fast)
    if "update" in extent.subjects:
        for path in paths:
            watch = Stopwatch(Variant(device.type, precision, path.name), roof, extent.repeats)
            yield from _update(with_options(config, dict(path.options)), spec, watch, path)
    if "training" in extent.subjects:
        yield train_a_stretch(config, Variant(device.type, precision, paths[0].name), extent.rounds)
    watch = Stopwatch(Variant(device.type, precision), roof, extent.repeats)
    if "acting" in extent.subjects:
        yield from acting(watch, _agent(spec, config))
    if "parts" in extent.subjects:
        agent, batch = _agent(spec, config), _batch(spec, config, device)
        yield from stages(watch, agent, batch)
        yield from networks(watch, agent, batch)


def _update(config: Config, spec: EnvSpec, watch: Stopwatch, path: UpdatePath) -> Iterator[Figure]:
    """A gradient step, and the memory that it takes at its peak."""
    agent = _agent(spec, config)
    reset_peaks(agent.device)
    yield total(watch, agent, path, _batch(spec, config, agent.device))
    yield from peaks(agent.device, "a gradient step", watch.variant)


def _in_groups(figures: Iterable[Figure]) -> list[Figure]:
    """Figures of one group stand together, in the order in which the groups first came."""
    figures = list(figures)
    order = list(dict.fromkeys(figure.group for figure in figures))
    return sorted(figures, key=lambda figure: order.index(figure.group))


def _agent(spec: EnvSpec, config: Config) -> ModelBasedAgent:
    agent = make_agent(spec, config)
    assert isinstance(agent, ModelBasedAgent)
    return agent


def _batch(spec: EnvSpec, config: Config, device: torch.device) -> dict[str, torch.Tensor]:
    return random_batch(spec, config.replay.batch_size, config.replay.batch_length, device)


def _name(dtype: torch.dtype) -> Precision:
    return "bfloat16" if dtype == torch.bfloat16 else "float32"
