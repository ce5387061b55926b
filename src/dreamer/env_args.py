"""`--env-args key=value ...`: what an environment is made with, besides its name."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from dreamer.errors import UserError

_NAMED = {"true": True, "false": False, "none": None}
OF_GAMES = {"gray": False, "sticky": 0.25, "life_loss": True}
"""Arguments of Atari games, with what they are if they are not given. Earlier versions had them as options."""


def normalized(given: Any) -> tuple[str, ...]:
    """Return arguments as sorted words `key=value` in one spelling, so that equal arguments are equal words.

    `given` is a list of such words, a text with spaces between them, or a dictionary of values.

    Raises:
        UserError: it is something else, a key is given twice, or a value cannot be written as a word.
    """
    if isinstance(given, Mapping):
        pairs = [(str(key), _word(str(key), value)) for key, value in given.items()]
    else:
        words = given.split() if isinstance(given, str) else given
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise UserError(f"--env-args must be key=value ..., got {given!r}.")
        pairs = [(key, _word(key, value_of(text))) for key, text in map(_split, words)]
    if twice := {key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1}:
        raise UserError(f"--env-args {', '.join(sorted(twice))} is given twice: give it once.")
    return tuple(f"{key}={text}" for key, text in sorted(pairs))


def parsed(words: Iterable[str]) -> dict[str, Any]:
    """Return the values by their keys: numbers, `True`, `None`, lists and dictionaries as in Python, else text."""
    return {key: value_of(text) for key, text in map(_split, words)}


def value_of(text: str) -> Any:
    """Return the value that a text stands for."""
    if text.lower() in _NAMED:
        return _NAMED[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _split(word: str) -> tuple[str, str]:
    key, equals, text = word.partition("=")
    if not equals or not key.replace("-", "_").isidentifier():
        raise UserError(f"--env-args {word}: write key=value, such as continuous=False.")
    return key.replace("-", "_"), text


def _word(key: str, value: Any) -> str:
    text = value if isinstance(value, str) and value_of(value) == value else repr(value)
    if value_of(text) != value:
        raise UserError(
            f"--env-args {key} is {value!r}: it must be a number, text, True, False, None, or a list or dictionary of "
            "these."
        )
    return text


def of_today(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a `config.json`, also of an earlier version, where those of games were no arguments."""
    is_game = str(options.get("env")).startswith("atari:")
    given = {name: options[name] for name, usual in OF_GAMES.items() if options.get(name, usual) != usual}
    others = {name: value for name, value in options.items() if name not in OF_GAMES}
    return {"env_args": [*normalized(given if is_game else {})], **others}
