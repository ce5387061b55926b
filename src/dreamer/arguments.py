"""Read options from the words of a command line."""

import contextlib
from collections.abc import Sequence
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

REGISTRY = ConstructorRegistry()
"""How words become values, where tyro would do it in another way."""


def read(kind: Any, words: Sequence[str], prog: str, **settings: Any) -> Any:
    """Return what `tyro.cli` returns for these words: options have flat names, and `1e6` is a whole number.

    For words that do not fit, it prints what is wrong and exits with status 2.
    """
    flat = (tyro.conf.OmitArgPrefixes,)
    return tyro.cli(kind, args=words, prog=prog, config=flat, registry=REGISTRY, add_help=False, **settings)


def whole_number(text: str) -> int:
    """Read `1000`, `1_000` or `1e3`. Raises `ValueError` for anything else."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (value := float(text)).is_integer():
            return int(value)
    raise ValueError(f"{text} is not a whole number")


@REGISTRY.primitive_rule
def _whole_numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )
