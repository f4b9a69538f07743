"""The cursor of the change stream: opaque to whoever holds it.

It stands for one change of one record. Following the stream from a cursor yields every change
that was committed after that one, each record once, at its latest change.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Sequence

from perdure.errors import InvalidInputError

__all__ = ["cursor_bytes", "decode_cursor", "encode_cursor"]

_CURSOR = re.compile(r"v1:(0|[1-9][0-9]{0,18})")
_MAX_SEQ = 2**63 - 1


def encode_cursor(change_seq: int) -> str:
    """Return the cursor that stands for a change."""
    return _encoded(change_seq).decode("ascii")


def cursor_bytes(change_seqs: Sequence[int]) -> Sequence[bytes]:
    """Return the cursors that stand for changes, as they leave with their records."""
    digits = len(str(max(change_seqs, default=0)))
    if digits != len(str(min(change_seqs, default=0))):
        return [_encoded(number) for number in change_seqs]
    # Numbers of one length, as most pages have, are encoded all at once: each is filled up with
    # NULs to whole groups of three bytes, and what those became is left out.
    filled = -digits % 3
    text = (b"v1:%d" + b"\0" * filled) * len(change_seqs) % tuple(change_seqs)
    kept = (3 + digits + filled) // 3 * 4 - filled
    encoded = binascii.b2a_base64(text, newline=False)
    return [cursor for (cursor,) in struct.iter_unpack(f"{kept}s{filled}x", encoded)]


def _encoded(change_seq: int) -> bytes:
    # What `urlsafe_b64encode` would give, several times as fast: digits lead to neither + nor /.
    return binascii.b2a_base64(b"v1:%d" % change_seq, newline=False).rstrip(b"=")


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
