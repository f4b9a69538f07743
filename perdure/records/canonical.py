"""The one JSON form of a record that is stored, and the one that is hashed.

Stored form: compact JSON in the order of the source. Hashed form: the same with sorted keys, so
that the order in which an API happens to send its keys never looks like a change.

Both go through orjson. What orjson refuses but JSON can say goes a slower way that agrees with
`JSON.stringify`: integers beyond 64 bits, strings with unpaired surrogates (escaped), keys that
are no strings. `NaN` and the infinities become `null` on both ways. `1` and `1.0` are different
texts and therefore different hashes. Moments in UTC end with `Z`, as pydantic writes them, so that
a record is the same whether it travelled before it was stored or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import orjson

__all__ = ["HASH_BYTES", "JsonObject", "canonical_hash", "to_json"]

JsonObject: TypeAlias = dict[str, Any]
"""A decoded JSON object."""

HASH_BYTES = 16
"""Length of a payload hash."""

_STORED = orjson.OPT_UTC_Z
_HASHED = _STORED | orjson.OPT_SORT_KEYS


def to_json(value: object, *, sort_keys: bool = False) -> bytes:
    """Encode a value as compact UTF-8 JSON.

    Args:
        value: JSON-like data; dates, UUIDs and enums become strings.
        sort_keys: Order object keys by code point.

    Raises:
        TypeError: The value holds something JSON has no form for, is nested too deeply or
            contains itself.
    """
    try:
        return orjson.dumps(value, option=_HASHED if sort_keys else _STORED)
    except TypeError:
        return _to_json_slowly(value, sort_keys=sort_keys)


def canonical_hash(value: object) -> bytes:
    """Return the 16-byte BLAKE2b of the canonical form.

    Raises:
        TypeError: As `to_json`.
    """
    return hashlib.blake2b(to_json(value, sort_keys=True), digest_size=HASH_BYTES).digest()


def _to_json_slowly(value: object, *, sort_keys: bool) -> bytes:
    try:
        plain = _plain(value)
        with suppress(TypeError):
            # As it is written where it is read again: its keys were all that was in the way.
            return orjson.dumps(plain, option=_HASHED if sort_keys else _STORED)
        text = json.dumps(plain, sort_keys=sort_keys, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        msg = "nested too deeply, or contains itself"
        raise TypeError(msg) from None
    except ValueError as error:
        # Python refuses to write integers of more than some thousand digits.
        raise TypeError(str(error)) from None
    return text.encode("ascii")


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | bool | int | None):
        return value
    # A float, or what orjson knows beyond JSON: dates, UUIDs, enums, dataclasses.
    return orjson.loads(orjson.dumps(value, option=_STORED))


def _plain_key(key: object) -> str:
    # Of a subclass the text alone: orjson takes no other key.
    return (
        str.__str__(key)
        if isinstance(key, str)
        else orjson.dumps(key, option=_STORED).decode().strip('"')
    )
