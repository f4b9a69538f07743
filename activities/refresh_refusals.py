"""What a refresh that failed means for who needs the credentials, and for the application."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

from perdure.clock import utcnow
from perdure.connections.refreshing import RefreshFailure
from perdure.db.connections import Connection
from perdure.errors import CredentialsError, UpstreamError

__all__ = ["is_told", "later", "refuse"]


def is_told(before: RefreshFailure | None, failure: RefreshFailure) -> bool:
    """Say whether the application is told: once a day of what only its user can mend."""
    if not failure.is_fault:
        return False
    if before is None or not before.is_fault:
        return True
    return failure.failing_days > before.failing_days or failure.exhausted > before.exhausted


def refuse(
    connection: Connection, failure: RefreshFailure | None, *, is_new: bool = False
) -> NoReturn:
    """Raise what a failure means for whoever needs the credentials.

    Args:
        connection: Whose.
        failure: The last one.
        is_new: Whether it happened just now.

    Raises:
        CredentialsError: The provider refuses to renew them.
        UpstreamError: They cannot be renewed at present.
    """
    if failure is None:
        raise AssertionError  # nothing refuses credentials but a failure
    who = f"{connection.connection_id!r} of {connection.integration!r}"
    told = f"The credentials of {who} could not be refreshed: {failure.message.rstrip('.')}."
    payload = {
        "connection_id": connection.connection_id,
        "provider_config_key": connection.integration,
        "error": {"type": failure.code, "description": failure.message},
        "failed_at": failure.at.isoformat(),
    }
    if failure.exhausted:
        msg = f"{told} That was so for days, so it is not tried any more; authorize it anew."
        raise CredentialsError(msg, code="connection_refresh_exhausted", payload=payload)
    if not failure.lasting:
        raise later(told, failure.retry_at - utcnow(), payload)
    code = "invalid_credentials" if is_new else "connection_refresh_backoff"
    raise CredentialsError(f"{told} Authorize it anew.", code=code, payload=payload)


def later(message: str, wait: timedelta, payload: object = None) -> UpstreamError:
    """Return the error that tells whoever needs credentials to come again.

    Args:
        message: Why.
        wait: When.
        payload: Further facts.
    """
    error = UpstreamError(
        message,
        code="connection_refresh_backoff",
        retryable=True,
        retry_after=max(wait.total_seconds(), 0.5),
    )
    error.payload = payload
    return error
