"""What `dreamer doctor` finds out: does this machine do, and what would a run cost on it?"""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.config import Config, EnvConfig
from dreamer.envs.rendering import find_backend
from dreamer.errors import UserError
from dreamer.results.forecast import Forecast, forecast
from dreamer.results.timing import environment_spec, product_speed, time_agent, time_decision


@dataclass(frozen=True)
class Check:
    """One line of the report; `advice` says what to do where `ok` is false or something could be better."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def run_checks(config: Config, logdir: Path) -> list[Check]:
    """Check the machine and predict the run of `config`; takes ten seconds or more and writes nothing."""
    environment = config.environment
    checks = [
        *_guarded("device", lambda: [_device(config), _precision(config)]),
        _processor(),
        *_guarded("drawing", lambda: [_drawing(environment)]),
    ]
    if all(check.ok for check in checks):
        return checks + _guarded("this run", lambda: _forecast(config, logdir))
    return [*checks, Check("this run", False, "not measured", "Put the above right first.")]


def print_checks(checks: list[Check], console: Console | None = None) -> None:
    """Print the report as a table."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("no", "bold red")
        detail = Text(check.detail)
        if check.advice:
            detail.append("\n" + check.advice, "yellow")
        table.add_row(mark, Text(check.name, "bold"), detail)
    (console or Console()).print(table)


def _guarded(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """A check that meets a `UserError` has failed, and the sentence says what to do."""
    try:
        return check()
    except UserError as error:
        problem, _, advice = str(error).partition(": ")
        return [Check(name, False, problem, advice[:1].upper() + advice[1:])]


def _device(config: Config) -> Check:
    device = pick_device(config.training.device)
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device.type == "cuda":
        memory = size(torch.cuda.get_device_properties(device).total_memory)
        return Check("device", True, f"{torch.cuda.get_device_name(device)}, {memory}; {software}")
    slow = config.training.device == "auto" and config.model.cnn_depth >= 32
    advice = (
        "No GPU: networks of this size learn slowly here; --preset laptop is made for it." if slow else ""
    )
    return Check("device", True, f"CPU; {software}", advice)


def _precision(config: Config) -> Check:
    device = pick_device(config.training.device)
    chosen = pick_dtype(config.training.precision, device)
    speeds = {dtype: product_speed(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    detail = ", ".join(f"{_name(dtype)} {speed:.2g} TFLOP/s" for dtype, speed in speeds.items())
    fastest = max(speeds, key=lambda dtype: speeds[dtype])
    better = speeds[fastest] > 1.5 * speeds[chosen]
    advice = f"Products in {_name(fastest)} are faster: --precision {_name(fastest)}." if better else ""
    return Check("precision", True, f"{_name(chosen)} ({detail})", advice)


def _processor() -> Check:
    available, threads, load = cores(), torch.get_num_threads(), os.getloadavg()[0]
    busy = load > 0.5 * available + 0.5
    advice = (
        f"Other programs keep {load:.1f} cores busy: what follows will be faster without them."
        if busy
        else ""
    )
    detail = f"{available} cores, {threads} threads, {size(memory_bytes())} of memory"
    return Check("processor", True, detail, advice)


def _drawing(config: EnvConfig) -> Check:
    if config.obs == "state":
        return Check("drawing", True, "not needed: the agent sees states")
    if not config.env.startswith("dmc:"):
        return Check("drawing", True, f"{1000 * time_decision(config):.1f} ms per decision of {config.env}")
    backend = find_backend()
    times = {render: 1000 * time_decision(replace(config, render=render)) for render in ("canonical", "fast")}
    detail = ", ".join(f"{render} {milliseconds:.1f} ms" for render, milliseconds in times.items())
    slow = config.render == "canonical" and times["canonical"] > 20
    advice = "Pictures without shadows take a fraction of the time: --render fast." if slow else ""
    return Check("drawing", True, f"{backend}; a decision of {config.env} takes {detail}", advice)


def _forecast(config: Config, logdir: Path) -> list[Check]:
    spec = environment_spec(config.environment)
    agent = time_agent(spec, config)
    decision = time_decision(config.environment)
    costs = f"{agent.update:.3g} s per update, {1000 * (decision + agent.action):.3g} ms per decision"
    expected = forecast(config, spec, agent, decision, cores())
    return [Check("speed", True, costs), _time(config, expected), _memory(), _disk(expected, logdir)]


def _time(config: Config, expected: Forecast) -> Check:
    share = expected.learning / expected.hours
    detail = (
        f"{duration(expected.hours)} for {config.training.steps:,} frames and {expected.updates:,} updates"
        f" ({share:.0%} of it learning)"
    )
    return Check("time", True, detail)


def _memory() -> Check:
    """Memory that the measurement took at its peak; the replay is mapped from disk and adds nothing."""
    peak, total = peak_memory_bytes(), memory_bytes()
    detail = f"{size(peak)} of {size(total)}"
    if torch.cuda.is_available():
        detail += f", {size(torch.cuda.max_memory_reserved())} on the GPU"
    ok = peak < 0.9 * total
    return Check("memory", ok, detail, "" if ok else "Take a smaller --batch-size.")


def _disk(expected: Forecast, logdir: Path) -> Check:
    existing = next(path for path in (logdir.absolute(), *logdir.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    ok = expected.disk < free
    advice = "" if ok else "Free some space, choose another --logdir, or set --replay-size."
    return Check("disk", ok, f"{size(expected.disk)} needed for {logdir}, {size(free)} free", advice)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine, or of the container where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return total if text == "max" else min(total, int(text))


def peak_memory_bytes() -> int:
    """The most memory this process has had at once."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration(hours: float) -> str:
    """Words for a length of time: `40 min`, `5.2 h`, `3.1 days`."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def size(count: float) -> str:
    """Words for a number of bytes: `12 MiB`, `5.2 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
