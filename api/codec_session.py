"""The session in which a browser may have payloads decrypted for the Temporal UI.

The UI cannot send a key of ours, so whoever uses it gives the key to a page of this server, once a
day. It stays in a cookie that scripts cannot read and other sites do not send, encrypted with the
key ring. What the key may do is asked at each request, as everywhere: a key that is revoked ends
the session.

The UI of `perdure dev` cannot be told to send cookies, so there the session stands in the address
of the endpoint. Whoever gets to that UI, and so reads the address, could start any workflow on the
same machine as well.
"""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from perdure.crypto.keyring import DecryptionError, KeyRing
from perdure.records.canonical import to_json

__all__ = ["COOKIE", "SESSION_SECONDS", "open_session", "session_key", "session_of"]

COOKIE = "perdure_codec"
"""Name of the cookie."""

SESSION_SECONDS = 12 * 3600
"""How long a session lasts."""

_AAD = b"perdure codec session"


def open_session(ring: KeyRing, key: str, seconds: float | None = SESSION_SECONDS) -> str:
    """Return what stands for a key.

    Args:
        ring: Encrypts it.
        key: The key.
        seconds: How long it does, None for as long as the key opens anything.
    """
    until = None if seconds is None else time.time() + seconds
    content = to_json({"key": key, "until": until})
    return base64.urlsafe_b64encode(ring.encrypt(content, aad=_AAD)).decode()


def session_of(path: str, headers: Headers) -> str | None:
    """Return the session of a request to `/codec/`, from its path or its cookies."""
    _, _, place, *rest = path.split("/")
    if rest:
        return place
    cookies: SimpleCookie = SimpleCookie()
    with suppress(CookieError):
        cookies.load(headers.get("cookie", ""))
    return cookies[COOKIE].value if COOKIE in cookies else None


def session_key(ring: KeyRing, session: str | None) -> str | None:
    """Return the key that a session stands for, None where it stands for none any more."""
    try:
        sealed = base64.urlsafe_b64decode(session or "")
        content = json.loads(ring.decrypt(sealed, aad=_AAD))
    except (ValueError, DecryptionError):
        return None
    until = content["until"]
    return str(content["key"]) if until is None or until > time.time() else None
