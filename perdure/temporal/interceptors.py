"""The one place where the engine's errors become Temporal failures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from opentelemetry import trace
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from perdure.errors import (
    InvalidInputError,
    PerdureError,
    UnavailableError,
    UpstreamError,
)

__all__ = ["ErrorInterceptor", "application_error"]

_MAX_MESSAGE = 8_000


def application_error(error: PerdureError) -> ApplicationError:
    """Return the failure of an error: its code as type, and whether and when to try again.

    What a provider asks to wait becomes the delay before the next attempt, so that the waiting
    is done by Temporal and holds no worker slot.
    """
    details: list[Any] = []
    retryable = isinstance(error, UnavailableError)
    delay: timedelta | None = None
    if isinstance(error, UpstreamError):
        retryable = error.retryable
        if error.retry_after is not None:
            delay = timedelta(seconds=error.retry_after)
        details = [
            {
                "status": error.status,
                "headers": error.headers,
                "body": error.body,
                "repeatable": error.retryable,
            }
        ]
    elif isinstance(error, InvalidInputError):
        details = [
            {
                "errors": [
                    {"code": e.code, "message": e.message, "path": list(e.path)}
                    for e in error.errors
                ],
                "payload": error.payload,
            }
        ]
    return ApplicationError(
        error.message[:_MAX_MESSAGE],
        *details,
        type=error.code,
        non_retryable=not retryable,
        next_retry_delay=delay,
    )


class ErrorInterceptor(Interceptor):
    """Maps what activities raise."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Activities(next)


class _Activities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await self.next.execute_activity(input)
        except PerdureError as error:
            trace.get_current_span().set_attribute("error.type", error.code)
            raise application_error(error) from error
