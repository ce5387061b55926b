"""`dreamer doctor`: is this machine fit for a run, and what would the run cost?"""

import os
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.bench.collecting import environment_spec, seconds_per_step
from dreamer.bench.forecast import LONG, forecast, time_agent
from dreamer.config import Config
from dreamer.envs.rendering import find_backend
from dreamer.errors import UserError
from dreamer.logs.progress import duration, working
from dreamer.machine import cores, memory_bytes, size
from dreamer.training.rehearsal import rehearse, speed_of_workers
from dreamer.training.threads import set_threads


class Check(NamedTuple):
    """One line of the report; `advice` says what to do where `ok` is false or something could be better."""

    name: str
    detail: str
    advice: str = ""
    ok: bool = True


def doctor(config: Config, logdir: Path) -> int:
    """Print all checks; return 0 if the run can go ahead, else 1. Writes nothing."""
    ok = True
    with working("looking at the machine, and measuring a few seconds of the run"):
        for check in run_checks(config, logdir):
            print(text(check), flush=True)
            ok = ok and check.ok
    return 0 if ok else 1


def run_checks(config: Config, logdir: Path) -> Iterator[Check]:
    """Check the machine and predict the run of `config`, up to the first check that fails."""
    for name, make in (("machine", _machine), ("rendering", _rendering), ("this run", _forecast)):
        try:
            yield from make(config, logdir)
        except UserError as error:
            problem, _, advice = str(error).partition(": ")
            yield Check(name, problem, advice[:1].upper() + advice[1:], ok=False)
            return


def text(check: Check) -> str:
    """Return a check as lines of at most 79 characters."""
    lines = [*textwrap.wrap(check.detail, 64), *textwrap.wrap(check.advice, 64)]
    return f"{'ok' if check.ok else 'NO'}  {check.name:<11}" + ("\n" + " " * 15).join(lines)


def _machine(config: Config, _: Path) -> list[Check]:
    set_threads(config.training.threads)
    device, load = pick_device(config.training.device), os.getloadavg()[0]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    precision = str(pick_dtype(config.training.precision, device)).removeprefix("torch.")
    detail = f"{name}, {precision}, {torch.get_num_threads()} of {cores()} cores"
    advice = ""
    large = config.baseline is None and config.model.cnn_depth >= 32
    if device.type == "cpu" and config.training.device == "auto" and large:
        advice = "No GPU: networks of this size learn slowly here. --preset laptop has smaller ones. "
    if load > 0.5 * cores() + 0.5:
        advice += f"Other programs keep {load:.1f} cores busy: without them everything below is faster."
    return [
        Check("machine", f"{detail}, {size(memory_bytes())} of memory, torch {torch.__version__}", advice)
    ]


def _rendering(config: Config, _: Path) -> list[Check]:
    environment = config.environment
    if environment.obs == "state":
        return [Check("rendering", "not needed: the agent sees states")]
    suite = environment.env.startswith("dmc:")
    backend = f"{find_backend()}; " if suite else ""
    milliseconds = 1e3 * seconds_per_step(environment)
    slow = suite and environment.render == "canonical" and milliseconds > 20
    advice = "Images without shadows take a fraction of the time: --render fast." if slow else ""
    return [Check("rendering", f"{backend}{milliseconds:.1f} ms per agent step of {environment.env}", advice)]


def _time(config: Config) -> list[Check]:
    spec, steps = environment_spec(config.environment), config.training.steps
    if config.workers:
        speed = speed_of_workers(spec, config, LONG)
        detail = f"{speed:,.0f} frames per second of {config.workers} workers on {cores()} cores"
        time = f"{duration(steps / speed)} for {steps:,} frames"
        return [Check("speed", detail), Check("time", time)]
    env_seconds, agent = seconds_per_step(config.environment), time_agent(spec, config)
    run = forecast(config, agent, env_seconds, cores())
    speed = f"{agent.update:.3g} s per update, {1e3 * (env_seconds + agent.action):.3g} ms per agent step"
    seconds, learning = run.seconds_left(0, 0), run.updates * run.update
    time = f"{duration(seconds)} for {run.frames:,} frames and {run.updates:,} updates"
    return [Check("speed", speed), Check("time", f"{time} ({learning / seconds:.0%} of it learning)")]


def _forecast(config: Config, logdir: Path) -> list[Check]:
    peak, needed = rehearse(config)
    memory = ", ".join(f"{size(count)} of {name}" for name, count in peak.items())
    fits = peak["process memory"] < 0.9 * memory_bytes()
    folder = next(path for path in (logdir.absolute(), *logdir.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    disk = f"{size(needed)} needed for {logdir}, {size(free)} free"
    space = "Free some space, choose another --logdir, or set --replay-size."
    held = config.replay.replay_device == "device"
    fewer = "--replay-device disk" if held else "a smaller --batch-size"
    fewer = "fewer --workers" if config.workers else fewer
    return [
        *_time(config),
        Check("memory", memory, "" if fits else f"Take {fewer}.", fits),
        Check("disk", disk, "" if needed < free else space, needed < free),
    ]
