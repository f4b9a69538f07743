"""Cursors of lists that are ordered by connection and two names."""

from __future__ import annotations

import base64
import json
from typing import TypeAlias

from perdure.errors import InvalidInputError

__all__ = ["Place", "decode_place", "encode_place"]

Place: TypeAlias = tuple[int, str, str]
"""Row id of a connection, and two names."""


def encode_place(place: Place) -> str:
    """Return a cursor."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def decode_place(cursor: str | None) -> Place:
    """Return where a page begins; without a cursor, before everything.

    Raises:
        InvalidInputError: `invalid_cursor`.
    """
    if cursor is None:
        return (0, "", "")
    try:
        key, first, second = json.loads(base64.urlsafe_b64decode(cursor))
        return int(key), str(first), str(second)
    except (TypeError, ValueError) as error:
        msg = "This cursor was never given out; leave it out to read from the start."
        raise InvalidInputError(msg, code="invalid_cursor") from error
