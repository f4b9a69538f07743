"""When credentials are refreshed, and what follows from a refresh that failed. Pure decisions.

A token is refreshed some time before it expires. One that lives shorter than twice that time is
refreshed at half of its life, or each use of it would refresh it again.

After a failure nothing is tried for a while. A connection whose refresh failed on four days in a
row is given up until it is authorized anew, or refreshed on demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

__all__ = [
    "BACKOFF",
    "BUFFER",
    "Advice",
    "RefreshFailure",
    "Standing",
    "after_failure",
    "expiry_of",
    "without_refresh_token",
]

BUFFER: Final = timedelta(minutes=15)
"""How long before its end a token is refreshed, where the provider's entry says nothing else."""

BACKOFF: Final = timedelta(seconds=30)
"""How long nothing is tried after a refresh that failed."""

_MAX_FAILING_DAYS = 4
_DAY = timedelta(days=1)
_MAX_MESSAGE = 1_000


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """The last attempt to refresh credentials, where it failed.

    Attributes:
        id: Names the failure in the log, and in `errors` of the connection.
        at: When it failed.
        lasting: Whether the provider refused the credentials, so that only others can help.
        code: Stable name of what went wrong.
        message: What went wrong, for people.
        retry_at: Nothing is tried before.
        failing_days: On how many days in a row it has failed.
        day_began_at: When the last of these days began.
        exhausted: Whether it is not tried any more.
        run_id: The run that needed the credentials, None where no script did.
    """

    id: str
    at: datetime
    lasting: bool
    code: str
    message: str
    retry_at: datetime
    failing_days: int
    day_began_at: datetime
    exhausted: bool
    run_id: str | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the connection is to be authorized anew, as far as anybody can tell."""
        return self.lasting or self.exhausted

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        fields = asdict(self)
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RefreshFailure:
        """Read what `to_json` gave."""
        moments = {k: datetime.fromisoformat(stored[k]) for k in ("at", "retry_at", "day_began_at")}
        return cls(**{**stored, **moments})


def expiry_of(credentials: Mapping[str, Any]) -> datetime | None:
    """Return when stored credentials end, None where they never do or nobody said.

    Args:
        credentials: Credentials as they are stored, of any kind.
    """
    found = credentials.get("expires_at")
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def without_refresh_token(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Return readable credentials without what renews them, also where the answer is kept in full.

    Args:
        credentials: Of any kind.
    """
    shown = {name: value for name, value in credentials.items() if name != "refresh_token"}
    if isinstance(raw := shown.get("raw"), Mapping):
        shown["raw"] = {name: value for name, value in raw.items() if name != "refresh_token"}
    return shown


class Advice(StrEnum):
    """What to do with credentials that can be refreshed."""

    USE = "use"
    REFRESH = "refresh"
    REFUSE = "refuse"
    """They are of no use, and the last failure says why they are not refreshed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How stored credentials stand.

    Attributes:
        has_token: Whether there is a token at all, which some kinds get at their first use.
        expires_at: When it ends, None where it never does or nobody said.
        obtained_at: When it was obtained, None where that is not known.
        failure: What came of the last refresh, None where that was fine.
        buffer: How long before its end the token is refreshed.
    """

    has_token: bool
    expires_at: datetime | None
    obtained_at: datetime | None
    failure: RefreshFailure | None = None
    buffer: timedelta = BUFFER

    @property
    def good_until(self) -> datetime | None:
        """Until when they are used as they are, None for ever."""
        if self.expires_at is None:
            return None
        buffer = self.buffer
        if self.obtained_at is not None:
            buffer = min(buffer, max((self.expires_at - self.obtained_at) / 2, timedelta()))
        return self.expires_at - buffer

    def advise(self, now: datetime, *, force: bool = False, is_refused: bool = False) -> Advice:
        """Say what to do with them.

        Args:
            now: The present moment.
            force: Refresh them whatever is known.
            is_refused: Whether the provider's API refused this very token.
        """
        end = self.good_until
        is_due = end is not None and now >= end
        if not (force or is_refused or is_due or not self.has_token):
            return Advice.USE
        failure = self.failure
        if force or failure is None or (now >= failure.retry_at and not failure.exhausted):
            return Advice.REFRESH
        return self.without_refresh(now, is_refused=is_refused)

    def without_refresh(self, now: datetime, *, is_refused: bool = False) -> Advice:
        """Say what to do with them where they cannot be refreshed now. Arguments as above."""
        has_ended = self.expires_at is not None and now >= self.expires_at
        is_usable = self.has_token and not has_ended and not is_refused
        return Advice.USE if is_usable else Advice.REFUSE


def after_failure(
    previous: RefreshFailure | None,
    *,
    id: str,  # noqa: A002 - as the field
    lasting: bool,
    code: str,
    message: str,
    now: datetime,
    wait: timedelta = BACKOFF,
    run_id: str | None = None,
) -> RefreshFailure:
    """Return what is to be noted of a failure.

    Args:
        previous: What was noted of the attempt before, None where that succeeded.
        id: As the attribute, as the next three.
        lasting: As the attribute.
        code: As the attribute.
        message: As the attribute; a long one is cut.
        now: When it failed.
        wait: How long nothing is to be tried.
        run_id: As the attribute.
    """
    days, began = 1, now
    if previous is not None:
        days, began = previous.failing_days, previous.day_began_at
        if now - began >= _DAY:
            days, began = days + 1, now
    return RefreshFailure(
        id=id,
        at=now,
        lasting=lasting,
        code=code,
        message=message[:_MAX_MESSAGE],
        retry_at=now + wait,
        failing_days=days,
        day_began_at=began,
        exhausted=days >= _MAX_FAILING_DAYS,
        run_id=run_id,
    )
