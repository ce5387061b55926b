"""`dreamer bench`: everything that is measured, in order."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch

from dreamer.agents.make import make_agent
from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.bench.collecting import acting, environment, environment_spec, replay
from dreamer.bench.end_to_end import training
from dreamer.bench.measurement import Measurement, Timer
from dreamer.bench.parts import parts
from dreamer.bench.report import (
    Report,
    check_same_options,
    describe_machine,
    heading,
    regression,
    row,
    slowdowns,
)
from dreamer.bench.roofline import product_speed
from dreamer.bench.update_modes import gradient_steps
from dreamer.config import Config, to_flat, with_options
from dreamer.errors import UserError
from dreamer.logs.progress import working
from dreamer.training.threads import set_threads

Subject = Literal["update", "training", "parts", "acting", "environment", "replay"]
NOT_MEASURED = {"d4pg": {"parts"}, "a3c": {"update", "parts", "replay"}, "random": {*get_args(Subject)}}
"""What an agent does not have, or does not do by itself: a worker of A3C acts and learns by turns."""


def bench(
    config: Config,
    json: Path | None = None,
    baseline: Path | None = None,
    tolerance: float = 1.3,
    repeats: int = 10,
    rounds: int = 5,
    precisions: Sequence[str] = (),
    only: Sequence[Subject] = (),
) -> int:
    """Measure the run of `config` and print a table; return 1 if anything is worse than tolerated, else 0.

    After every measurement, all so far are written to `json`. Raises `UserError` for options that cannot be
    measured or compared.
    """
    limits = {"repeats": (repeats, 1), "rounds": (rounds, 2), "tolerance": (tolerance, 1)}
    for option, (number, least) in limits.items():
        if number < least:
            raise UserError(f"--{option} must be at least {least}, got {number}.")
    agent = config.behavior.agent
    subjects = {*(only or get_args(Subject))} - NOT_MEASURED.get(agent, set())
    if not subjects:
        raise UserError(f"There is nothing of this to measure of --agent {agent}: take another --agent.")
    set_threads(config.training.threads)
    report = Report(describe_machine(pick_device(config.training.device)), to_flat(config), [])
    before = Report.read(baseline) if baseline else None
    if before is not None:
        check_same_options(report, before)
    print(heading(report, before))
    ratios: dict[Measurement, float] = {}
    with working("measuring"):
        for measurement in _measure(config, repeats, rounds, precisions, subjects):
            if not report.measurements or measurement.title != report.measurements[-1].title:
                print(measurement.title)
            report.measurements.append(measurement)
            ratios = slowdowns(report, before) if before else {}
            print(row(measurement, ratios.get(measurement)), flush=True)
            if json is not None:
                report.write(json)
    if before is not None and not ratios:
        raise UserError("The baseline has none of these: give the same --precisions and --only.")
    if worse := regression(ratios, tolerance):
        print(f"dreamer: {worse}", file=sys.stderr)
    return 1 if worse else 0


def _measure(
    config: Config, repeats: int, rounds: int, precisions: Sequence[str], subjects: set[str]
) -> Iterator[Measurement]:
    device, spec = pick_device(config.training.device), environment_spec(config.environment)
    own = str(pick_dtype(config.training.precision, device)).removeprefix("torch.")
    for precision in precisions or [own]:
        timer = Timer(device, repeats, precision)
        yield (products := product_speed(timer))
        timer = replace(timer, flops_per_s=1e12 * products.median)
        run = with_options(config, {"precision": precision})
        if "update" in subjects:
            yield from gradient_steps(timer, spec, run)
        if "training" in subjects:
            yield from training(timer, run, rounds)
        if "parts" in subjects:
            yield from parts(timer, make_agent(spec, run), config.replay)
    timer, agent = Timer(device, repeats), make_agent(spec, config)
    if "acting" in subjects:
        yield acting(timer, agent, config.environment.num_envs)
    if "environment" in subjects:
        yield from environment(replace(timer, device=torch.device("cpu")), config.environment)
    if "replay" in subjects:
        yield from replay(timer, agent, config)
