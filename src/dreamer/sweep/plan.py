"""Plan the runs of a sweep, and keep the plan in `sweep.json`.

    {
      "version": 1,
      "preset": "laptop",
      "runs": [
        {
          "name": "walker_stand-planet-0",       directory of the run, beside sweep.json
          "task": "walker_stand",
          "variant": "planet",
          "seed": 0,
          "options": {"env": "dmc:walker_stand", "seed": 0, "agent": "planet"}
        },
        ...
      ]
    }

`options` has the environment, the seed, the agent if it is not `dreamer`, and every option in which the run differs
from the preset for that environment and that agent. The progress of a run is only in its own directory.
"""

import fcntl
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dreamer.arguments import read
from dreamer.config import METADATA, Affects, Config, check, flag, options_affecting, to_flat, with_options
from dreamer.errors import UserError, did_you_mean, writing
from dreamer.presets import preset
from dreamer.storage.atomic_file import TEMPORARY_SUFFIX, atomic_file
from dreamer.storage.config_file import LOCK
from dreamer.storage.regular_file import MOST_TEXT, open_lock, read_regular
from dreamer.sweep.tasks import short_name

VERSION = 1
FILE = "sweep.json"

DREAMER = Config().behavior.agent
FREE = options_affecting(Affects.SPEED, Affects.NOTHING)
"""Options that may change when a sweep goes on, as for a single run: length, schedule, machine."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep; see the top of this file."""

    name: str
    task: str
    variant: str
    seed: int
    options: dict[str, Any]

    @property
    def arguments(self) -> list[str]:
        """Arguments of `dreamer train` for `options`, except `threads`, which depends on the machine."""
        options = {name: value for name, value in self.options.items() if name != "threads"}
        return [word for name, value in options.items() for word in to_arguments(name, value)]


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, those of the first seed before those of the second."""

    preset: str
    runs: tuple[PlannedRun, ...]

    def config(self, run: PlannedRun) -> Config:
        """Return all options of a run. Raises `UserError` if this version does not have one of them."""
        try:
            start = preset(self.preset, run.options["env"], run.options.get("agent", DREAMER))
            return with_options(start, run.options)
        except KeyError as error:
            raise UserError(
                f"The plan of {run.name} has {error.args[0]}: use the version that made it, or start another"
                " sweep with another --out."
            ) from error

    def differences(self, new: "Plan") -> list[str]:
        """Return the reasons, in a few words each, why `new` cannot go on with the runs of this plan.

        It can if it has every one of them, with the same options except those that are `FREE`. It may have more runs.
        """
        if self.runs and new.preset != self.preset:
            return [f"the preset was {self.preset}, now {new.preset}"]
        known = {run.name: run for run in new.runs}
        changed: dict[str, None] = {}  # keeps the order
        for run in self.runs:
            if run.name not in known:
                changed[f"{run.name} has begun"] = None
                continue
            before, now = to_flat(self.config(run)), to_flat(new.config(known[run.name]))
            for name in (name for name in now if name not in FREE and before.get(name) != now[name]):
                changed[f"{name} was {before.get(name)!r}, now {now[name]!r}"] = None
        return list(changed)


def make_plan(
    preset_name: str,
    environments: Sequence[str],
    seeds: int,
    axes: Sequence[str],
    training: Sequence[str] = (),
) -> Plan:
    """Return the runs of every environment, variant and seed.

    `axes` are texts `option=value,value`; variants are all combinations of their values. `training` are arguments of
    `dreamer train` for all runs. Seeds count up from the `--seed` among them, or else from 0.

    Raises:
        UserError: an option is unknown, or `dreamer train` would refuse it.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}.")
    for option, instead in (("--env", "--tasks"), ("--logdir", "--out")):
        if any(word == option or word.startswith(option + "=") for word in training):
            raise UserError(f"A sweep has no {option}: give {instead}.")
    runs = []
    for env, variant in itertools.product(environments, _variants(axes)):
        words = [word for name, value in variant.items() for word in to_arguments(name, value)]
        config = _read_config(preset_name, [*training, *words, "--env", env], env)
        runs += [_planned_run(preset_name, config, variant, offset) for offset in range(seeds)]
    if twice := [name for name, count in Counter(run.name for run in runs).items() if count > 1]:
        raise UserError(
            f"Two runs would have the directory {twice[0]}: leave out one of their tasks or values."
        )
    return Plan(preset_name, tuple(sorted(runs, key=lambda run: run.seed)))


@dataclass(frozen=True)
class _Given:
    """What is read first, since the preset depends on it."""

    agent: str = DREAMER


def _read_config(preset_name: str, arguments: Sequence[str], env: str) -> Config:
    """Read the options of a run as `dreamer train` does: if an option is given twice, the last one counts."""
    given, _ = read(_Given, arguments, "dreamer sweep", return_unknown_args=True)
    config = read(Config, arguments, "dreamer sweep", default=preset(preset_name, env, given.agent))
    check(config)
    return config


def _planned_run(preset_name: str, config: Config, variant: dict[str, str], offset: int) -> PlannedRun:
    env, seed = config.environment.env, config.training.seed + offset
    agent = config.behavior.agent
    start = to_flat(preset(preset_name, env, agent))
    options = {"env": env, "seed": seed} | ({"agent": agent} if agent != DREAMER else {})
    for name, value in to_flat(config).items():
        if value != start[name]:
            options.setdefault(name, value)
    task = short_name(env)
    label = ",".join(value if name == "agent" else f"{name}={value}" for name, value in variant.items())
    label = (label or agent).replace("/", "-")  # it is part of the name of a directory
    return PlannedRun(f"{task}-{label}-{seed}", task, label, seed, options)


def _variants(axes: Sequence[str]) -> list[dict[str, str]]:
    """Return all combinations of values, each as option -> value. Without axes it is a single empty one."""
    values: dict[str, list[str]] = {}
    for axis in axes:
        name, _, text = axis.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        choices = list(dict.fromkeys(value.strip() for value in text.split(",") if value.strip()))
        if not choices:
            raise UserError(f"--sweep {axis} has no values: write it as option=value,value.")
        _check_axis(name, known=name in values)
        values[name] = choices
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


def _check_axis(name: str, known: bool) -> None:
    options = [option.strip("_") for option in METADATA]
    if instead := {"env": "--tasks", "seed": "--seeds"}.get(name):
        raise UserError(f"--sweep takes no {name}: give {instead}.")
    if name not in options:
        raise UserError(f"--sweep {name}=...: there is no such option{did_you_mean(name, options)}.")
    if known:
        raise UserError(f"--sweep {name}=... is given twice: give all values once, separated by commas.")


def to_arguments(name: str, value: Any) -> list[str]:
    """Return an option as it is written on the command line: `("fast", False)` -> `["--no-fast"]`."""
    switches = {"True": flag(name), "False": f"--no-{flag(name)[2:]}"}
    if str(value).capitalize() in switches:
        return [switches[str(value).capitalize()]]
    return [flag(name), *(value if isinstance(value, list) else [str(value)])]


@contextmanager
def sweep_directory(path: Path, plan: Plan) -> Iterator[None]:
    """Keep other sweeps out of the directory, and write `plan` to its `sweep.json`.

    A plan that is there already binds the new one only by its runs that have begun. So what failed at once, by a wrong
    option or the wrong name of a task, can be put right.

    Raises:
        UserError: the directory holds another sweep or other files, another process uses it, or the disk refuses.
    """
    if path.is_file() or (path.is_dir() and not (path / FILE).exists() and _holds_something(path)):
        raise UserError(f"{path} exists and is not a sweep directory: choose another --out.")
    with writing(path, "choose an --out you can write to"):
        path.mkdir(parents=True, exist_ok=True)
        lock = open_lock(path / LOCK)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"Another process runs the sweep in {path}: wait for it, or stop it.") from error
        if found := _begun(path).differences(plan):
            more = ", ..." if len(found) > 5 else ""
            raise UserError(
                f"{path} holds another sweep ({', '.join(found[:5])}{more}): choose another --out."
            )
        with atomic_file(path / FILE) as file:
            file.write((json.dumps({"version": VERSION, **asdict(plan)}, indent=2) + "\n").encode())
        yield


def _begun(path: Path) -> Plan:
    """Return the runs of a sweep directory that have begun; there are none if it has no `sweep.json`."""
    saved = load_plan(path) if (path / FILE).exists() else Plan("", ())
    return replace(saved, runs=tuple(run for run in saved.runs if (path / run.name).exists()))


def _holds_something(path: Path) -> bool:
    """Whether there are files that are not left over from a sweep killed before it wrote `sweep.json`."""
    return any(file.name != LOCK and not file.match(f"{FILE}*{TEMPORARY_SUFFIX}") for file in path.iterdir())


def load_plan(path: Path) -> Plan:
    """Read the `sweep.json` of a sweep directory.

    Raises:
        UserError: the file is missing or damaged, or another version wrote it.
    """
    file = path / FILE
    try:
        saved = json.loads(read_regular(file, MOST_TEXT))
        if (version := saved["version"]) != VERSION:
            raise UserError(
                f"{file} has version {version}, and this program reads {VERSION}: use the version that wrote it."
            )
        return Plan(saved["preset"], tuple(_planned(run) for run in saved["runs"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error!r}): restore it, or choose another --out.") from error


def _planned(saved: dict[str, Any]) -> PlannedRun:
    """Return a run of `sweep.json`. Raises `TypeError` or `KeyError` if it is damaged."""
    run = PlannedRun(**saved)
    if not isinstance(run.name, str) or not isinstance(run.options["env"], str):
        raise TypeError(f"{run.name!r}")
    return run
