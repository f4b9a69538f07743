"""Masks secrets in what people get to see: messages, logs, headers, URLs.

Two nets: the very texts of a connection's credentials, wherever they stand, and the values of
headers and query parameters whose names say that they are secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

__all__ = ["MASK", "MIN_SECRET", "Redactor", "is_sensitive_name"]

MASK = "***"
"""Stands in the place of a secret."""

MIN_SECRET = 4
"""Shorter texts are not masked in prose: replacing every `a` would only destroy the message."""

_SENSITIVE = re.compile(
    r"""
      secret | passw(or)?d | authorization | credential | api[-_]?key | access[-_]?key
    | (^|[-_.])(auth|cookie|key|pwd|sig|signature|session|jwt)($|[-_.])
    | (^|access|auth|id|refresh|api|private|bearer|security|csrf|xsrf|app|user|session)[-_.]?token$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_QUERY_PARAMETER = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]*)")


def is_sensitive_name(name: str) -> bool:
    """Return whether a header or parameter of this name is taken for a secret."""
    return _SENSITIVE.search(name) is not None


class Redactor:
    """Masks the secrets of one connection.

    Args:
        secrets: Texts that must not be shown, as they are and as they look in URLs and JSON.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= MIN_SECRET
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret), _in_json(secret))
        }
        longest_first = sorted(spellings, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if spellings else None

    def text(self, text: str) -> str:
        """Mask the secrets in a text."""
        return text if self._secrets is None else self._secrets.sub(MASK, text)

    def finds(self, text: str) -> bool:
        """Return whether a text holds one of the secrets."""
        return self._secrets is not None and self._secrets.search(text) is not None

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask the values of headers that are secret by name or by value."""
        return {
            name: MASK if is_sensitive_name(name) else self.text(value)
            for name, value in headers.items()
        }

    def url(self, url: str) -> str:
        """Mask the user info of a URL and what is secret in its query and path."""
        parts = urlsplit(url)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return self.text(_QUERY_PARAMETER.sub(_mask_parameter, bare))


def _mask_parameter(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={MASK if is_sensitive_name(name) else value}"


def _in_json(secret: str) -> str:
    return json.dumps(secret)[1:-1]
