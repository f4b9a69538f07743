"""The session in which a browser may have payloads decrypted for the Temporal UI.

The UI cannot send a key of ours, so whoever uses it gives the key to a page of this server, once a
day. It stays in a cookie that scripts cannot read and other sites do not send, encrypted with the
key ring. What the key may do is asked at each request, as everywhere: a key that is revoked ends
the session.
"""

from __future__ import annotations

import base64
import json
import time
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from perdure.crypto.keyring import DecryptionError, KeyRing
from perdure.records.canonical import to_json

__all__ = ["COOKIE", "SESSION_SECONDS", "open_session", "session_key"]

COOKIE = "perdure_codec"
"""Name of the cookie."""

SESSION_SECONDS = 12 * 3600
"""How long a session lasts."""

_AAD = b"perdure codec session"


def open_session(ring: KeyRing, key: str) -> str:
    """Return the value of the cookie for a key."""
    content = to_json({"key": key, "until": int(time.time()) + SESSION_SECONDS})
    return base64.urlsafe_b64encode(ring.encrypt(content, aad=_AAD)).decode()


def session_key(ring: KeyRing, headers: Headers) -> str | None:
    """Return the key of a request's session, None where it has none that counts."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
        sealed = base64.urlsafe_b64decode(cookies[COOKIE].value)
        content = json.loads(ring.decrypt(sealed, aad=_AAD))
    except (CookieError, KeyError, ValueError, DecryptionError):
        return None
    return str(content["key"]) if content["until"] > time.time() else None
