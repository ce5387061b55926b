"""What `dreamer train` says before it begins: what will happen, on what, and for how long."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dreamer.cli.options import Start, differences
from dreamer.config import Config

if TYPE_CHECKING:
    from dreamer.training.a3c_trainer import A3CTrainer
    from dreamer.training.trainer import Trainer
    from dreamer.types import EnvSpec

WIDTH = 79


def lines(trainer: "Trainer | A3CTrainer", start: Start, logdir: Path) -> Iterator[str]:
    """Yield lines of at most `WIDTH` characters; the last, with the time, takes a few seconds to find out.

    The forecast is that of `dreamer doctor`, by shorter measurements. It also tells the progress bar the time left.
    """
    config = trainer.config
    yield f"{'Resuming' if trainer.resumed else 'Training'} {config.environment.env} in {logdir}"
    for name, text in {"options": _options(start, config), **_machine(trainer), **_networks(trainer)}.items():
        yield from _entry(name, text)
    own = config.environment.env.startswith("gym:")  # no step of it is tried out, and workers do little else
    if not (own and config.workers) and trainer.counters.env_step < config.training.steps:
        yield from _entry("time", _time(trainer))


def _options(start: Start, config: Config) -> str:
    return ", ".join([start.text, *differences(start, config)])


def _machine(trainer: "Trainer | A3CTrainer") -> dict[str, str]:
    import torch

    from dreamer.agents.precision import pick_dtype
    from dreamer.training.ray_actors import RayActors
    from dreamer.training.threads import busy

    device = trainer.agent.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    precision = str(pick_dtype(trainer.config.training.precision, device)).removeprefix("torch.")
    threads = torch.get_num_threads()
    where = f"{name}, {precision}, {threads} thread{'s' * (threads > 1)}"
    found = {"device": where} | ({"busy": warning} if (warning := busy()) else {})
    if isinstance(trainer.envs, RayActors):
        number, nodes = trainer.config.environment.num_envs, trainer.envs.nodes
        found["actors"] = f"{number} on Ray, on {nodes} node{'s' * (nodes > 1)}"
    return found


def _networks(trainer: "Trainer | A3CTrainer") -> dict[str, str]:
    spec, agent = trainer.envs.spec, trainer.config.behavior.agent
    weights = sum(weight.numel() for weight in trainer.agent.algorithm.parameters())
    repeat, workers = trainer.config.environment.repeat, trainer.config.workers
    return {
        "sees": _sees(spec),
        "acts": f"{_acts(spec)}, every {repeat} frame{'s' * (repeat > 1)}",
        "agent": f"{agent}, {weights:,} parameters" + f", {workers} workers" * (workers > 1),
    }


def _sees(spec: "EnvSpec") -> str:
    images = [f"{key} {'x'.join(map(str, shape))}" for key, shape in spec.images.items()]
    return ", ".join([*images, *(f"{key} of {size} numbers" for key, size in spec.vectors.items())])


def _acts(spec: "EnvSpec") -> str:
    groups = spec.action.groups
    if not groups:
        return f"{spec.action.size} number{'s' * (spec.action.size > 1)}"
    return "one of " + " times ".join(map(str, groups)) + " actions"


def _time(trainer: "Trainer | A3CTrainer") -> str:
    from dreamer.bench.forecast import SHORT, predict
    from dreamer.logs.progress import duration
    from dreamer.training.rehearsal import speed_of_workers

    if trainer.config.workers:
        frames = trainer.config.training.steps - trainer.counters.env_step
        seconds = frames / speed_of_workers(trainer.envs.spec, trainer.config, SHORT)
        return f"about {duration(seconds)} for {frames:,} frames"
    run = predict(trainer.config, trainer.envs.spec)
    trainer.logger.forecast = run.seconds_left
    seconds = run.seconds_left(trainer.counters.env_step, trainer.counters.grad_step)
    frames, updates = run.frames - trainer.counters.env_step, run.updates - trainer.counters.grad_step
    own = ", without the environment" * trainer.config.environment.env.startswith("gym:")
    return f"about {duration(seconds)} for {frames:,} frames and {max(0, updates):,} updates{own}"


def _entry(name: str, text: str) -> list[str]:
    return textwrap.wrap(f"  {name:<9}{text}", WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False)
