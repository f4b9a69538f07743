"""What the answer to a token request grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from perdure.auth.endpoint import refusal
from perdure.providers.provider import Provider
from perdure.proxy.json_path import lookup
from perdure.proxy.redaction import Redactor

__all__ = ["Granted", "expiry", "oauth2_grant", "text_at"]

_MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)
_LONGEST = timedelta(days=365 * 100)


@dataclass(frozen=True, slots=True)
class Granted:
    """What an answer grants.

    Attributes:
        token: What requests carry.
        refresh_token: Gets the next one, None where the answer has none.
        expires_at: When the token ends, None where it does not or the answer does not say.
        raw: The answer in full.
    """

    token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime | None
    raw: dict[str, JsonValue] = field(repr=False)


def oauth2_grant(provider: Provider, body: JsonValue, now: datetime) -> Granted:
    """Return what the answer of an OAuth 2 token endpoint grants.

    Args:
        provider: Says where the token stands and what unit `expires_in` has.
        body: The decoded answer.
        now: When it came.

    Raises:
        TokenError: If there is no token in it.
    """
    path = provider.alternate_access_token_response_path
    token = text_at(body, "access_token") or (text_at(body, path) if path else None)
    if not isinstance(body, dict) or token is None:
        raise refusal(provider.display_name, body, Redactor())
    expires_at = expiry(body.get("expires_at"), "expireAt", now)
    if expires_at is None:
        in_ms = provider.expires_in_unit == "milliseconds"
        expires_at = expiry(body.get("expires_in"), "milliseconds" if in_ms else "expireIn", now)
    return Granted(
        token=token,
        refresh_token=text_at(body, "refresh_token"),
        expires_at=expires_at,
        raw=body,
    )


def expiry(
    value: JsonValue, kind: Literal["expireAt", "expireIn", "milliseconds"], now: datetime
) -> datetime | None:
    """Return when a token ends, None where that is never or cannot be told.

    Args:
        value: A moment, or how long the token is valid; zero and less is for ever.
        kind: `expireAt` for a moment (a date, epoch seconds or milliseconds), `expireIn` for
            seconds from now, `milliseconds` for milliseconds from now.
        now: The present moment.
    """
    if value is None or isinstance(value, bool) or value == "":
        return None
    if kind != "expireAt":
        return _after(value, 1000.0 if kind == "milliseconds" else 1.0, now)
    try:
        moment = _MOMENT.validate_python(value)
    except ValidationError:
        try:
            moment = parsedate_to_datetime(str(value))
        except (TypeError, ValueError):
            return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def text_at(body: JsonValue, path: str) -> str | None:
    """Return the text or number at a dotted path; None where there is none or it is empty.

    An empty path is the answer itself.
    """
    found = lookup(body, path) if path else body
    if isinstance(found, str):
        return found.strip() or None
    if isinstance(found, int | float) and not isinstance(found, bool):
        return str(found)
    # An element of XML that has attributes.
    if isinstance(found, dict) and isinstance(text := found.get("#text"), str):
        return text.strip() or None
    return None


def _after(value: JsonValue, per_second: float, now: datetime) -> datetime | None:
    try:
        lasts = timedelta(seconds=float(str(value)) / per_second)
    except (ValueError, OverflowError):
        return None
    return now + min(lasts, _LONGEST) if lasts > timedelta() else None
