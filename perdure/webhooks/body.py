"""The bytes of a webhook: exactly what JavaScript makes of the value.

Many receivers check a signature over the body as they encoded it anew, `JSON.stringify` of what
they parsed. So a body is written the way JavaScript would write it after reading it: keys in an
order that is stable there too, numbers in the form of ECMAScript. Integers beyond 2**53 stay exact
here and do not survive JavaScript; receivers of such should check the raw body.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

__all__ = ["encode_body"]

_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_MAX_ARRAY_INDEX = 2**32 - 2
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode_body(value: Any) -> bytes:
    """Encode a JSON value.

    Args:
        value: Objects, lists, text, numbers, booleans and None; NaN and infinities become null.

    Raises:
        TypeError: It holds anything else.
    """
    return _text(value).encode()


def _text(value: Any) -> str:
    match value:
        case Mapping():
            members = (f"{_string(key)}:{_text(value[key])}" for key in sorted(value, key=_order))
            return f"{{{','.join(members)}}}"
        case list() | tuple():
            return f"[{','.join(map(_text, value))}]"
        case str():
            return _string(value)
        case float():
            return _number(value)
        case bool() | int() | None:
            return json.dumps(value)
    msg = f"JSON has no form for {type(value).__name__}"
    raise TypeError(msg)


def _string(text: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    if not _SURROGATE.search(written):
        return written
    # Two halves that stand together are one character.
    joined = written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", joined)


def _order(key: str) -> tuple[int, int, str]:
    """Order keys as objects of JavaScript do: what looks like an index of an array comes first."""
    if _ARRAY_INDEX.fullmatch(key) and int(key) <= _MAX_ARRAY_INDEX:
        return 0, int(key), ""
    return 1, 0, key


def _number(value: float) -> str:
    """Write a number as ECMAScript's `Number::toString` does."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    negative, figures, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, figures))
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
        text = f"{mantissa}e{point - 1:+d}"
    return f"-{text}" if negative else text
