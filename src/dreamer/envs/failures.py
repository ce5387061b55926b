"""What an environment raises, as one sentence: the environment, the call, the cause, and where it stands."""

import inspect
import logging
import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym

from dreamer.envs.surroundings import is_ctrl_c, kept
from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

_LONGEST_CAUSE = 300
"""Characters of an exception's text that are shown."""

_GYMNASIUM = Path(gym.__file__).parent
_OWN = Path(__file__).parents[1]
_PACKAGES = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
_STANDARD = Path(sysconfig.get_path("stdlib"))
_DRAWING = [
    package / name
    for package in _PACKAGES
    for name in ("OpenGL", "glfw", "mujoco/egl", "mujoco/osmesa", "mujoco/glfw", "mujoco/rendering")
]
"""Where it fails if MUJOCO_GL names what does not work."""

_HINTS = {
    ("reset", "unexpected keyword argument"): "it must take reset(self, *, seed=None, options=None)",
    ("make", "argument 'render_mode'"): "its __init__ must take render_mode, or use --obs state",
    ("make", "required positional argument"): "give it by --env-args NAME=VALUE",
    ("make", "required keyword-only argument"): "give it by --env-args NAME=VALUE",
    ("make", "unexpected keyword argument"): "--env-args must be arguments of its __init__",
}
"""What to do, by the call and a part of the exception's text."""


class EnvError(UserError):
    """An environment failed in an episode: it raised, died, hung, or returned what cannot be used.

    If `passing`, another episode may go well. If not, the environment's code must be mended.
    """

    def __init__(self, text: str, passing: bool = True) -> None:
        super().__init__(text)
        self.passing = passing


@contextmanager
def calling(name: str, call: str, env: Any = None) -> Iterator[None]:
    """Turn whatever the block raises into an `EnvError`; `env`, if it exists, is what was called.

    What it has changed in this process is as before then (`surroundings`).
    """
    try:
        with kept():
            yield
    except UserError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        if call == "step" and "expected 5, got 4" in _text(error) and _raised_in(error, _GYMNASIUM):
            raise old_step(name, env) from error
        raise EnvError(failure(name, call, error, env)) from error


def old_step(name: str, env: Any) -> EnvError:
    """Return the error about an environment whose `step` returns four values."""
    return EnvError(
        f"{name} returns 4 values from step, as before Gymnasium 0.26: return observation, reward, terminated, "
        f"truncated, info{definition(env, 'step')}.",
        passing=False,
    )


def failure(name: str, call: str, error: BaseException, env: Any = None) -> str:
    """Return the sentence about `error`, which `call` (make, reset, step, render or close) has raised."""
    cause = _cause(error)
    place = _place(cause, call, env)
    text = one_line(_text(cause), _LONGEST_CAUSE).rstrip(".")
    return f"{name} raised {type(cause).__name__} in {call}{text and f': {text}'}{place}{_hint(call, cause)}."


def close(env: gym.Env, name: str) -> None:
    """Close an environment; if that fails, say so and go on: nothing depends on it any more."""
    try:
        with kept():
            env.close()
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        _logger.warning("%s", failure(name, "close", error, env))


def one_line(text: str, length: int) -> str:
    """Return the text in one line of at most `length` characters, without those that steer a terminal."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= length else line[: length - 4] + " ..."


def brief(value: Any) -> str:
    """Show a value in one short line."""
    try:
        return one_line(repr(value), 80)
    except Exception:  # of a class of the user's own
        return f"a {type(value).__name__}"


def _text(error: BaseException) -> str:
    """Return the text of an exception, or none if it cannot tell it."""
    try:
        return str(error)
    except Exception:
        return ""


def definition(env: Any, method: str) -> str:
    """Return ` (FILE, line N)` of a method of the environment inside all wrappers, or an empty string."""
    function = inspect.unwrap(getattr(type(getattr(env, "unwrapped", None)), method, None))  # pyright: ignore[reportArgumentType]
    code = getattr(function, "__code__", None)
    return f" ({_short(code.co_filename)}, line {code.co_firstlineno})" if code else ""


def _cause(error: BaseException) -> BaseException:
    """The user's exception, where Gymnasium has raised it again with more words; its own ones say what to install."""
    while type(error) is type(error.__cause__) and _raised_in(error, _GYMNASIUM):
        error = error.__cause__  # pyright: ignore[reportAssignmentType]
    return error


def _hint(call: str, error: BaseException) -> str:
    """Return what to do about it, after a semicolon, where that is known."""
    hints = [hint for (of, part), hint in _HINTS.items() if of == call and part in _text(error)]
    chosen = os.environ.get("MUJOCO_GL")
    if chosen and cannot_draw(error):
        hints.append(f"MUJOCO_GL={chosen} may not work here: unset it to have a backend chosen")
    return f"; {hints[0]}" if hints else ""


def cannot_draw(error: BaseException) -> bool:
    """Whether the way to draw that MUJOCO_GL names has failed, also if only MuJoCo was imported."""
    return any(_inside(frame.filename, *_DRAWING) for frame in traceback.extract_tb(error.__traceback__))


def _place(error: BaseException, call: str, env: Any) -> str:
    """Return ` (FILE, line N, in FUNCTION)`: the innermost line of the user's own code.

    Where there is none: the definition of what was called, if it was not entered, or else the innermost line.
    """
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_code_of_somebody(frame.filename)
    ]
    own = [frame for frame in frames if not _inside(frame.filename, *_PACKAGES, _OWN)]
    if not own and (not frames or _inside(frames[-1].filename, _GYMNASIUM, _OWN)):
        return definition(env, "__init__" if call == "make" else call)
    frame = (own or frames)[-1]
    return f" ({_short(frame.filename)}, line {frame.lineno}, in {frame.name})"


def _is_code_of_somebody(file: str) -> bool:
    """Whether this is a file outside of the standard library, where a mistake may be."""
    return Path(file).is_file() and (not _inside(file, _STANDARD) or _inside(file, *_PACKAGES))


def _raised_in(error: BaseException, *folders: Path) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _inside(frames[-1].filename, *folders)


def _inside(file: str, *folders: Path) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _short(file: str) -> str:
    """Return the path from the current folder if the file is inside, else the whole path."""
    here = Path.cwd()
    return str(Path(file).relative_to(here)) if Path(file).is_relative_to(here) else file
