"""Measure how many updates a second several training processes take at once on one device.

    python benchmarks/sharing.py --out runs/sharing --preset paper --processes 1 2 4 8

Each process updates an agent of its own; all begin together, and the CPU cores are shared out among them.
Writes sharing.json and sharing.md into --out.
"""

import multiprocessing
import os
import time
import traceback
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import torch
import tyro
from tables import markdown, write_json

from dreamer.agents.make import make_agent
from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.bench.bench import describe_machine
from dreamer.bench.memory import status_bytes
from dreamer.bench.paths import path_named, usual_path
from dreamer.config import Config, with_options
from dreamer.presets import preset
from dreamer.results.doctor import cores, peak_memory_bytes, size
from dreamer.results.timing import random_batch
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.training.host_memory import keep_freed_memory

WARM_UP = 3
"""Updates before the clock starts."""


@dataclass(frozen=True)
class Options:
    """Updates per second of several processes on one device."""

    out: Path
    """Folder for sharing.json and sharing.md."""
    preset: str = "paper"
    """What each process trains."""
    processes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of processes to try, one after the other."""
    seconds: float = 20.0
    """How long each number is measured."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: str = "auto"
    """auto, float32 or bfloat16."""
    path: str = ""
    """How a gradient step is executed; as a run does it if not given."""
    batch_size: int = 0
    """Sequences per batch; the preset's if not given."""
    batch_length: int = 0
    """Steps per sequence; the preset's if not given."""
    threads: int = 0
    """CPU threads of each process; the cores shared out among them if not given."""
    timeout: float = 300.0
    """Seconds after which processes that are not yet ready are given up."""


@dataclass(frozen=True)
class Outcome:
    """What one process did: updates, in how many seconds, and the memory it took; or its error."""

    updates: int = 0
    seconds: float = 1.0
    process_bytes: int = 0
    gpu_bytes: int = 0
    """Of PyTorch's allocator; what CUDA itself takes for a process comes on top."""
    error: str = ""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    machine = describe_machine(pick_device(options.device))
    rows = []
    for count in options.processes:
        rows.append(measure(options, count))
        shared = {"machine": machine, "mps": mps_runs(), "preset": options.preset, "rows": rows}
        write_json(options.out / "sharing.json", shared)  # whatever comes after
        (options.out / "sharing.md").write_text(table(rows))
    print(table(rows))
    raise SystemExit(any(row["errors"] for row in rows))


def measure(options: Options, count: int) -> dict[str, Any]:
    """Run `count` processes side by side; a row of the table."""
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(count), context.Queue()
    arguments = (options, options.threads or max(1, cores() // count), barrier, outcomes)
    processes = [context.Process(target=work, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    found: list[Outcome] = [outcomes.get(timeout=2 * options.timeout + options.seconds) for _ in processes]
    for process in processes:
        process.join()
    rates = [outcome.updates / outcome.seconds for outcome in found if not outcome.error]
    return {
        "processes": count,
        "threads_each": arguments[1],
        "updates_per_s": sum(rates),
        "slowest": min(rates, default=0.0),
        "fastest": max(rates, default=0.0),
        "process_bytes": sum(outcome.process_bytes for outcome in found),
        "gpu_bytes": sum(outcome.gpu_bytes for outcome in found),
        "errors": sorted({outcome.error for outcome in found if outcome.error}),
    }


def work(options: Options, threads: int, barrier: Barrier, outcomes: "Queue[Outcome]") -> None:
    """One process: update for some seconds, all others beginning at the same moment."""
    try:
        outcomes.put(_work(options, threads, barrier))
    except BaseException as error:
        barrier.abort()  # The others would wait for this one.
        if not isinstance(error, BrokenBarrierError):
            traceback.print_exc()
        outcomes.put(Outcome(error=f"{type(error).__name__}: {error}"))


def _work(options: Options, threads: int, barrier: Barrier) -> Outcome:
    torch.set_num_threads(threads)
    keep_freed_memory()  # as training does
    config, spec = _config(options), EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(6))
    device = pick_device(options.device)
    path = path_named(options.path, device) if options.path else usual_path(device)
    update = path.make(make_agent(spec, with_options(config, dict(path.options))))
    batch = random_batch(spec, config.replay.batch_size, config.replay.batch_length, device)

    def step() -> None:
        update(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM_UP):
        step()
    barrier.wait(options.timeout)
    start, passed, updates = time.monotonic(), 0.0, 0
    while passed < options.seconds:
        step()
        updates += 1
        passed = time.monotonic() - start
    process = status_bytes("VmHWM") or peak_memory_bytes()
    gpu = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    return Outcome(updates, passed, process, gpu)


def _config(options: Options) -> Config:
    sizes = {"batch_size": options.batch_size, "batch_length": options.batch_length}
    given = {name: number for name, number in sizes.items() if number}
    precision = str(pick_dtype(options.precision, pick_device(options.device))).removeprefix("torch.")
    return with_options(preset(options.preset), {**given, "device": options.device, "precision": precision})


def mps_runs() -> bool:
    """Whether NVIDIA's Multi-Process Service seems to be on: without it, processes take turns on a GPU."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return Path(folder, "control").exists()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; the gain is over the first row."""
    head = [
        "processes",
        "threads each",
        "updates/s in all",
        "gain",
        "updates/s of each",
        "memory",
        "on the GPU",
    ]
    first = rows[0]["updates_per_s"]
    return markdown(
        head,
        [
            [
                row["processes"],
                row["threads_each"],
                f"{row['updates_per_s']:.3g}",
                f"{row['updates_per_s'] / first:.2f}" if first else "",
                f"{row['slowest']:.3g} - {row['fastest']:.3g}",
                size(row["process_bytes"]),
                size(row["gpu_bytes"]) if row["gpu_bytes"] else "-",
            ]
            if not row["errors"]
            else [row["processes"], row["threads_each"], row["errors"][0], "", "", "", ""]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
