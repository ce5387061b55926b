"""What `--help` prints: the docstrings of commands and of options, with their defaults."""

import ast
import functools
import inspect
import itertools
import re
import shutil
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from dreamer.config import WITHOUT_EFFECT, Config, flag

FIRST = ("env", "obs", "agent", "steps", "seed", "action_repeat", "device")
"""Options of a run that people change first, besides the command's own."""
REQUIRED = inspect.Parameter.empty
COLUMN = 24
"""Where the text of an option begins."""
WIDEST = 100
"""Columns that are used of a wide terminal."""

BEGINNING = """\
usage: dreamer COMMAND [OPTIONS]

Dreamer: learning behaviors by latent imagination.

  dreamer train --env dmc:walker_stand         learn a task
  dreamer train --logdir runs/NAME             go on with a run that was stopped
  dreamer eval runs/NAME --video episode.mp4   play what was learned
  dreamer plot runs/NAME                       draw it over the published curves
"""
END = "`dreamer COMMAND --help` lists the options of a command, `dreamer --version` prints the version."


class Option(NamedTuple):
    """One option, or a positional argument."""

    name: str
    hint: Any
    default: Any
    text: str
    positional: bool = False


def overview(families: Mapping[str, Mapping[str, Callable[..., Any]]]) -> str:
    """Return the help of `dreamer`: a line for each command, by family."""
    text = BEGINNING
    for title, commands in families.items():
        entries = [_entry(name, _paragraphs(command)[0], 12) for name, command in commands.items()]
        text += "\n".join([f"\n{title}:", *entries, ""])
    return f"{text}\n{_wrapped(END)}"


def of_command(name: str, command: Callable[..., Any]) -> str:
    """Return the help of a command: what it does, and its options.

    A command of a run comes with its starting point (`with_start`). `train` lists all options of a run, by part.
    """
    start = command.keywords["options"] if isinstance(command, functools.partial) else None
    documented: Any = command.func if isinstance(command, functools.partial) else command
    own = _of_class(documented) if isinstance(documented, type) else _of_function(documented)
    arguments = [option.name.upper() for option in own if option.positional]
    text = [" ".join([f"usage: dreamer {name}", *arguments, "[OPTIONS]"])]
    text += [
        _examples(text) if text.startswith("Example") else _wrapped(text) for text in _paragraphs(documented)
    ]
    if start and start.behavior.agent != "d4pg":
        own = [option for option in own if option.name != "ray"]
    parts = _of_run(start) if start else {}
    every = {option.name: option for options in parts.values() for option in options}
    text.append(_group("options", [*own, *(every[name] for name in FIRST if name in every)]))
    if start and name != "train":
        text.append(
            _wrapped("All other options of a run may be given, too: `dreamer train --help` lists them.")
        )
    elif start:
        for title, options in parts.items():
            text.append(_group(title, [option for option in options if option.name not in FIRST]))
    return "\n\n".join(text)


# -- options and their texts, from the code ------------------------------------------------------------------


def _of_run(options: Config) -> dict[str, list[Option]]:
    """Return the options that the agent of a run reads, by part, with these as their defaults."""
    parts = [part for part in vars(options).values() if part is not None]
    unread = WITHOUT_EFFECT.get(options.behavior.agent, frozenset())
    read = {part: [o for o in _of_class(type(part), part) if o.name not in unread] for part in parts}
    return {_paragraphs(type(part))[0].rstrip("."): found for part, found in read.items() if found}


def _of_class(kind: type, instance: Any = None) -> list[Option]:
    """Return the fields of a dataclass; their texts are the strings below them."""
    hints, texts = get_type_hints(kind), _strings_below(kind)
    defaults = {f.name: REQUIRED if f.default is MISSING else f.default for f in fields(kind)}
    defaults |= vars(instance) if instance else {}
    return [Option(name, hints[name], default, texts[name]) for name, default in defaults.items()]


def _strings_below(kind: type) -> dict[str, str]:
    (body,) = [
        node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)
    ]
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _of_function(function: Callable[..., Any]) -> list[Option]:
    """Return the parameters of a command; their texts stand below `Args:` in its docstring."""
    arguments = (inspect.getdoc(function) or "").partition("\nArgs:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", arguments, re.M | re.S)
    texts = {name: " ".join(text.split()) for name, text in found}
    hints = get_type_hints(function, include_extras=True)
    return [
        Option(name, hints[name], given.default, texts[name], hasattr(hints[name], "__metadata__"))
        for name, given in inspect.signature(function).parameters.items()
        if name != "options"
    ]


def _paragraphs(documented: Any) -> list[str]:
    """Return the paragraphs of a docstring before `Args:`, each on one line."""
    text = (inspect.getdoc(documented) or "").partition("\nArgs:\n")[0]
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


# -- layout --------------------------------------------------------------------------------------------------


def _examples(text: str) -> str:
    """Return a paragraph of examples with each command on a line of its own, to be copied."""
    return "\n".join(["Examples:", *(f"  {example}" for example in re.findall(r"`([^`]+)`", text))])


def _group(title: str, options: Iterable[Option]) -> str:
    return "\n".join([f"{title}:", *map(_line, options)])


def _line(option: Option) -> str:
    """Return the lines of one option: how it is written, what it does, its default."""
    metavar = _metavar(option.hint)
    if option.positional:
        return _entry(option.name.upper(), option.text)
    name, default = flag(option.name), option.default
    written = f"{name} {metavar}"
    if isinstance(default, bool):
        written, default = f"{name}, --no-{name[2:]}", "on" if default else "off"
    known = "required" if default is REQUIRED else "" if default in (None, ()) else default
    return _entry(written, f"{option.text} [{known}]" if known != "" else option.text)


def _metavar(hint: Any) -> str:
    """Return what stands for the value of an option: `INT`, `{auto,cpu}`, `INT|{auto}`, `PATH ...`."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not type(None)]
    if origin is Literal:
        return "{" + ",".join(map(str, parts)) + "}"
    if origin in (Union, types.UnionType):
        return "|".join(map(_metavar, parts))
    if origin in (list, tuple):
        return f"{_metavar(parts[0])} ..."
    return "TEXT" if hint is str else hint.__name__.upper()


def _entry(left: str, text: str, column: int = COLUMN) -> str:
    """Return what something is called, and what it does beside that or below."""
    lines = _wrapped(text, column).splitlines()
    head = f"  {left}"
    if len(head) < column:
        return "\n".join([f"{head:<{column}}{lines[0].strip()}", *lines[1:]])
    return "\n".join([head, *lines])


def _wrapped(text: str, indent: int = 0) -> str:
    """Return a text in lines that fit the terminal; options such as `--num-envs` stay whole."""
    width = min(shutil.get_terminal_size().columns, WIDEST) - 1
    margin = " " * indent
    return textwrap.fill(
        text,
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,
        break_long_words=False,
    )
