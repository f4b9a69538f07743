"""The cursor of the change stream: opaque to whoever holds it.

It stands for one change of one record. Following the stream from a cursor yields every change
that was committed after that one, each record once, at its latest change.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from perdure.errors import InvalidInputError

__all__ = ["cursor_bytes", "decode_cursor", "encode_cursor"]

_CURSOR = re.compile(r"v1:(0|[1-9][0-9]{0,18})")
_MAX_SEQ = 2**63 - 1


def encode_cursor(change_seq: int) -> str:
    """Return the cursor that stands for a change."""
    (cursor,) = cursor_bytes((change_seq,))
    return cursor.decode("ascii")


def cursor_bytes(change_seqs: Iterable[int]) -> list[bytes]:
    """Return the cursors that stand for changes, as they leave with their records."""
    # What `urlsafe_b64encode` would give, several times as fast: digits lead to neither + nor /.
    encode = binascii.b2a_base64
    return [encode(b"v1:%d" % number, newline=False).rstrip(b"=") for number in change_seqs]


def decode_cursor(cursor: str) -> int:
    """Return the sequence number of the change that a cursor stands for.

    Raises:
        InvalidInputError: `invalid_cursor`, it is none that this engine gave out.
    """
    padding = "=" * (-len(cursor) % 4)
    try:
        text = base64.b64decode(cursor + padding, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    match = _CURSOR.fullmatch(text)
    change_seq = int(match[1]) if match else _MAX_SEQ + 1
    if change_seq > _MAX_SEQ:
        msg = "This cursor was never given out; leave it out to read from the start."
        raise InvalidInputError(msg, code="invalid_cursor")
    return change_seq
