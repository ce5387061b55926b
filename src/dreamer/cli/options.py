"""The options of a run: where they start from, what was given besides, and the name of the run."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro

from dreamer.arguments import read
from dreamer.config import (
    OWNERS,
    RENAMED,
    Affects,
    BehaviorConfig,
    Config,
    check,
    flag,
    options_affecting,
    to_flat,
    with_options,
)
from dreamer.errors import UserError
from dreamer.presets import preset as preset_named
from dreamer.presets import resolve_name
from dreamer.storage.config_file import FILE, read_config

PresetName = Literal["auto", "paper", "laptop", "atari", "debug"]
RunOptions = Annotated[Config, tyro.conf.arg(name="")]
DEFAULTS = Config()

AGENTS = get_args(get_type_hints(BehaviorConfig)["agent"])
UNNAMED = options_affecting(Affects.SPEED, Affects.NOTHING) | {"env", "agent", "seed"}
"""Options that are no differences in the name of a run: it may change them, or they stand there anyway."""
LONGEST = 120
"""Characters of a run's name above which its differences are replaced by a checksum."""


@dataclass(frozen=True)
class _Given:
    """What is read first, since the defaults of all other options depend on it."""

    preset: str = ""
    config: Path | None = None
    logdir: Path | None = None
    env: str = ""
    agent: str = ""


@dataclass(frozen=True)
class Start:
    """Options that a run starts from, before those given, and the `name` and a `text` for where they are from."""

    name: str
    options: Config
    text: str = ""


def starting_point(
    preset: str = "", config: Path | None = None, logdir: Path | None = None, env: str = "", agent: str = ""
) -> Start:
    """Return the options of `config`, or of the run in `logdir`, or of a preset (`auto` without any).

    `config` is a run directory or a `config.json`. A preset goes before the run in `logdir`. Raises `UserError` for
    a preset beside `config`, and for a file that cannot be read.
    """
    if preset and config:
        raise UserError("--preset and --config are both a starting point of all options: give one of them.")
    if config is None and not preset and logdir is not None and (logdir / FILE).is_file():
        config = logdir
    if config is None:
        name = resolve_name(preset or "auto")
        auto = "" if preset == name else f" (auto: {'with' if name == 'paper' else 'no'} GPU)"
        return Start(name, preset_named(name, env, agent), f"preset {name}{auto}")
    file = config / FILE if config.is_dir() else config
    saved = read_config(file)
    name = file.absolute().parent.name if file.name == FILE else file.stem
    return Start(
        name, with_options(saved, {"agent": agent}) if agent in AGENTS else saved, f"those of {config}"
    )


def with_start(function: Callable[..., Any], words: Sequence[str]) -> Callable[..., Any]:
    """Return a command of a run with its starting point as the defaults of all options.

    Raises `UserError` if an option has another name now or belongs to another agent, or if there is no such starting
    point.
    """
    flags = [word.split("=")[0][2:] for word in words if word.startswith("--")]
    names = [word.removeprefix("no-").replace("-", "_") for word in flags]
    for name in filter(RENAMED.get, names):  # the new name of an option helps more than a list of all
        raise UserError(f"{flag(name)} is now {flag(RENAMED[name])}: see --help.")
    given, _ = read(_Given, words, "dreamer", return_unknown_args=True)
    options = starting_point(**vars(given)).options
    for name in names:
        if (owner := OWNERS.get(name)) not in (None, options.behavior.agent):
            raise UserError(f"{flag(name)} belongs to --agent {owner}: add that, or leave {flag(name)} out.")
    return partial(function, options=options)


def checked(options: Config) -> Config:
    """Return the options with numbers in place of `auto`. Raises `UserError` if they cannot work."""
    check(options)
    from dreamer.envs.action_repeat import resolve

    return resolve(options)


def differences(start: Start, options: Config, without: Collection[str] = ()) -> list[str]:
    """Return the options that are not as in the start, as `name=value`."""
    before, now = to_flat(start.options), to_flat(options)
    changed = [name for name in now if now[name] != before.get(name) and name not in without]
    return [_written(name, now[name]) for name in changed]


def _written(name: str, value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else f"{name.strip('_')}={value}"


def default_logdir(start: Start, options: Config) -> Path:
    """Return `runs/ENV-START-AGENT-DIFFERENCES-SEED`.

    The differences are the options in which the run differs from its start, without those that it may change on
    its way; so the same command finds its run again, and another one does not.
    """
    now, changed = to_flat(options), differences(start, options, UNNAMED)
    different = ",".join(changed)
    if len(different) > LONGEST:
        different = f"{len(changed)}-options-{hashlib.sha256(different.encode()).hexdigest()[:8]}"
    parts = [now["env"], start.name, now["agent"], different, str(now["seed"])]
    name = "-".join(part for part in parts if part)
    return Path("runs") / name.replace(":", "-").replace("/", "-")
