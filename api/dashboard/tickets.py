"""What browsers hold of a key: encrypted with the key ring, and good for half a day.

`perdure dev` prints a link with a ticket, so that nobody has to look for the key on their own
machine. A ticket signs in; the session that it begins is a text of the same making.
"""

from __future__ import annotations

import base64
import json
import time

from perdure.crypto.keyring import DecryptionError, KeyRing
from perdure.records.canonical import to_json

__all__ = ["SESSION_SECONDS", "key_of_ticket", "make_ticket", "seal", "unseal"]

SESSION_SECONDS = 12 * 3600
"""How long a session lasts, and how long a ticket begins one."""

_TICKET = b"perdure dashboard ticket"


def make_ticket(ring: KeyRing, key: str) -> str:
    """Return what signs in with a key."""
    return seal(ring, {"key": key}, _TICKET)


def key_of_ticket(ring: KeyRing, ticket: str) -> str | None:
    """Return the key that a ticket stands for, None where it stands for none any more."""
    content = unseal(ring, ticket, _TICKET)
    return None if content is None else content["key"]


def seal(ring: KeyRing, content: dict[str, str], purpose: bytes) -> str:
    """Return a text that only `unseal` can read, for the same purpose and not for ever."""
    text = to_json({**content, "until": time.time() + SESSION_SECONDS})
    return base64.urlsafe_b64encode(ring.encrypt(text, aad=purpose)).decode()


def unseal(ring: KeyRing, sealed: str, purpose: bytes) -> dict[str, str] | None:
    """Return what was sealed, None where it is too old or was never sealed by us."""
    try:
        content = json.loads(ring.decrypt(base64.urlsafe_b64decode(sealed), aad=purpose))
    except (ValueError, DecryptionError):
        return None
    return content if content["until"] > time.time() else None
