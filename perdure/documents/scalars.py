"""What a plain YAML word means: the YAML 1.2 reading, as existing files are used to.

`yes`, `no` and `on` are text, `017` is seventeen, `0o17` is fifteen, `1_000` is a thousand.
Numbers are JavaScript's: a whole number is an integer, however it was written, and beyond 2^53
digits are lost.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = ["ScalarValue", "Timestamp", "is_list_index", "key_text", "resolve", "resolve_tagged"]


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A date or a point in time; nothing in a `nango.yaml` is one on purpose."""

    text: str


ScalarValue = str | int | float | bool | None | Timestamp

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"([-+]?)(?:0(b)([01_]+)|0(o)([0-7_]+)|0(x)([0-9a-fA-F_]+)|([0-9][0-9_]*))")
_FLOAT = re.compile(
    r"(?:[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?)"
)
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?"
)
_BASES = {"b": 2, "o": 8, "x": 16}
_LONGEST_NUMBER = 400
_EXACT_INTEGERS = 2**53
_LIST_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def resolve(text: str) -> ScalarValue:
    """Return what a plain (unquoted) scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in _NUMBER_START:
        return text
    number = _number(text)
    if number is not None:
        return number
    return Timestamp(text) if _TIMESTAMP.fullmatch(text) else text


def resolve_tagged(text: str, tag: str) -> ScalarValue:
    """Return what a scalar with an explicit standard tag means.

    Args:
        text: The scalar.
        tag: Last part of the tag: `str`, `int`, `float`, `bool`, `null` or `timestamp`.

    Raises:
        ValueError: The tag is not one of these, or the text does not suit it.
    """
    if tag == "str":
        return text
    value = resolve(text)
    fits = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "null": value is None,
        "timestamp": isinstance(value, Timestamp),
    }
    if not fits.get(tag, False):
        raise ValueError(tag)
    return value


def key_text(value: ScalarValue) -> str:
    """Return the text that a scalar becomes when it is a key."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Timestamp) else str(value)


def is_list_index(key: str) -> bool:
    """Return whether `key` is one that JavaScript sorts before all other keys of an object."""
    return bool(_LIST_INDEX.fullmatch(key)) and int(key) < 2**32 - 1


def _number(text: str) -> int | float | None:
    if match := _SPECIAL.fullmatch(text):
        return (
            math.nan if match[1] is None else math.copysign(math.inf, -1 if match[1] == "-" else 1)
        )
    if text.endswith("_"):
        return None
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(text):
        base = _BASES.get(match[2] or match[4] or match[6] or "", 10)
        if not (match[3] or match[5] or match[7] or match[8]).strip("_"):
            return None
        if len(digits) > _LONGEST_NUMBER:
            return math.inf
        number = int(digits, base if base != 10 else 10)
        return number if abs(number) < _EXACT_INTEGERS else _whole(_to_float(number))
    return _whole(float(digits)) if _FLOAT.fullmatch(text) else None


def _to_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _whole(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) < _EXACT_INTEGERS else number
