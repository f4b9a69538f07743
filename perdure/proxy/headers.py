"""Which headers pass through a proxy, and which end at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["caller_headers", "passed_back"]

PREFIX = "nango-proxy-"

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They speak of one connection, not of what is carried over it."""

# They would speak for our own host: `date` is set by the server that answers.
_THEIRS = frozenset({"alt-svc", "date", "strict-transport-security"})
_OURS = frozenset({"host", "content-length", "expect"})
_CROSS_ORIGIN = "access-control-"


def caller_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return what a caller wants a provider to be sent: `nango-proxy-<name>` becomes `<name>`.

    Those that speak of a connection or of the body's length are left out.

    Args:
        headers: As they came, one by one.
    """
    found: dict[str, list[str]] = {}
    for raw_name, raw_text in headers:
        name = raw_name.decode("latin-1").lower()
        if not name.startswith(PREFIX):
            continue
        bare = name.removeprefix(PREFIX)
        if bare and bare not in _HOP_BY_HOP | _OURS:
            found.setdefault(bare, []).append(_text(raw_text))
    return {name: ("; " if name == "cookie" else ", ").join(all_) for name, all_ in found.items()}


def passed_back(
    headers: Iterable[tuple[bytes, bytes]], by_name: Mapping[str, str], *, decompressed: bool
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a provider's answer that its caller gets.

    Args:
        headers: As they came, one by one.
        by_name: The same by lower-case name.
        decompressed: Whether the body is passed on decompressed.
    """
    named = by_name.get("connection", "").split(",")
    dropped = _HOP_BY_HOP | _THEIRS | {name.strip().lower() for name in named}
    if decompressed:
        dropped |= {"content-encoding", "content-length"}
    return [
        (name, text)
        for name, text in ((raw_name.lower(), text) for raw_name, text in headers)
        if (plain := name.decode("latin-1")) not in dropped and not plain.startswith(_CROSS_ORIGIN)
    ]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
