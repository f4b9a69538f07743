"""The session of a person at the dashboard.

Whoever signs in gives an API key. It stays in a cookie that scripts cannot read, encrypted with the
key ring; what the key may do is asked at each request, as everywhere, so a key that is revoked ends
the session. Forms carry a token of the session, which other sites cannot know.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.requests import Request
from starlette.responses import Response

from api.dashboard.tickets import SESSION_SECONDS, seal, unseal
from api.dependencies import Dependencies
from perdure.crypto.keyring import KeyRing

__all__ = ["COOKIE", "Session", "begin_session", "end_session", "session_of"]

COOKIE = "perdure_session"
"""Name of the cookie."""

_PURPOSE = b"perdure dashboard session"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in.

    Attributes:
        key: The API key.
        token: What the forms of this session carry.
    """

    key: str
    token: str

    def owns(self, token: str) -> bool:
        """Say whether a form is one of this session's."""
        return hmac.compare_digest(token.encode(), self.token.encode())


def session_of(request: Request, ring: KeyRing) -> Session | None:
    """Return the session of a request, None where nobody is signed in any more."""
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return None
    return _opened(ring, cookies[COOKIE].value) if COOKIE in cookies else None


def begin_session(response: Response, request: Request, deps: Dependencies, key: str) -> None:
    """Sign somebody in."""
    content = {"key": key, "token": secrets.token_urlsafe(24)}
    response.set_cookie(
        COOKIE,
        seal(deps.keyring, content, _PURPOSE),
        max_age=SESSION_SECONDS,
        path="/dashboard",
        secure=_is_https(request, deps.settings.server_url),
        httponly=True,
        samesite="lax",
    )


def end_session(response: Response) -> None:
    """Sign whoever asks out."""
    response.delete_cookie(COOKIE, path="/dashboard")


def _opened(ring: KeyRing, sealed: str) -> Session | None:
    content = unseal(ring, sealed, _PURPOSE)
    return None if content is None else Session(key=content["key"], token=content["token"])


def _is_https(request: Request, server_url: str | None) -> bool:
    return request.url.scheme == "https" or (server_url or "").startswith("https:")
