"""Dotted paths into decoded JSON: `data.items`, `pages.0.cursor`, `@odata.nextLink`."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

__all__ = ["MISSING", "Missing", "describe", "lookup"]


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""What `lookup` returns when nothing stands at the path; null in the body is None."""

Missing: TypeAlias = Literal[_Missing.MISSING]


def lookup(body: JsonValue, path: str) -> JsonValue | Missing:
    """Return what stands at a dotted path.

    A key that holds dots itself is found, because the whole rest of the path is tried as a key
    before it is split. A number selects from a list.
    """
    value = body
    rest = path
    while rest:
        if isinstance(value, dict) and rest in value:
            return value[rest]
        name, _, rest = rest.partition(".")
        if isinstance(value, dict):
            if name not in value:
                return MISSING
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def describe(body: JsonValue) -> str:
    """Say in a few words what a body is, without its values."""
    match body:
        case dict():
            names = ", ".join(repr(name) for name in list(body)[:20])
            more = f" and {len(body) - 20} more" if len(body) > 20 else ""
            return f"an object with the keys {names}{more}" if body else "an empty object"
        case list():
            return f"a list of {len(body)}"
        case str():
            return "text"
        case None:
            return "null"
        case bool():
            return "a boolean"
        case _:
            return "a number"
