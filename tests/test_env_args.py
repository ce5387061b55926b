"""Arguments of environments: words in one spelling, values with types, and those of earlier versions."""

import pytest

from dreamer.env_args import normalized, of_today, parsed
from dreamer.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 0.001),
        (".25", 0.25),
        ("False", False),
        ("false", False),
        ("None", None),
        ("text", "text"),
        ("a b", "a b"),
        ("reach-v3", "reach-v3"),
        ("'5'", "5"),
        ("[1, 'a']", [1, "a"]),
        ("{'lanes_count': 2}", {"lanes_count": 2}),
        ("x=y", "x=y"),
        ("", ""),
    ],
)
def test_values_have_types(text: str, value: object) -> None:
    words = normalized([f"key={text}"])
    assert parsed(words) == {"key": value}
    assert type(parsed(words)["key"]) is type(value)
    assert normalized(words) == normalized({"key": value}) == words


def test_equal_arguments_are_equal_words() -> None:
    assert normalized(["b=.50", "life-loss=false"]) == normalized({"life_loss": False, "b": 0.5})
    assert normalized("b=2 a=1") == ("a=1", "b=2")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["continuous"], "write key=value"),
        (["=3"], "write key=value"),
        (["a=1", "a=2"], "a is given twice"),
        ({"a": object()}, "must be a number, text"),
        (5, "must be key=value"),
        ([5], "must be key=value"),
    ],
)
def test_what_is_no_argument_is_refused(given: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        normalized(given)


def test_a_run_of_an_earlier_version_keeps_what_it_had() -> None:
    usual = {"gray": False, "sticky": 0.25, "life_loss": True}
    assert of_today({"env": "dmc:walker_walk", **usual}) == {"env": "dmc:walker_walk", "env_args": []}
    given = of_today({"env": "atari:pong", **usual, "sticky": 0.0, "gray": True})
    assert given == {"env": "atari:pong", "env_args": ["gray=True", "sticky=0.0"]}
    new = {"env": "gym:CarRacing-v3", "env_args": ["continuous=False"]}
    assert of_today(new) == new
