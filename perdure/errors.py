"""The errors of the engine, grouped by what a caller can do about them.

    PerdureError
    ├── InvalidInputError     mend the request
    ├── UnauthorizedError     send another key
    ├── NotFoundError         name something that exists
    ├── ConflictError         look at the present state, then decide
    ├── UnavailableError      try again later: a server we need does not answer
    ├── UpstreamError         the provider's API refused or could not be reached
    ├── CredentialsError      authorize the connection anew
    └── StartupError          mend the set-up: a port, a folder, a missing extra

`code` is stable and machine-readable; it travels unchanged through Temporal failures, the REST
API and the CLI. Nothing may branch on the text of a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ConflictError",
    "CredentialsError",
    "FieldError",
    "InvalidInputError",
    "NotFoundError",
    "PerdureError",
    "StartupError",
    "UnauthorizedError",
    "UnavailableError",
    "UpstreamError",
]


class PerdureError(Exception):
    """Base of every error the engine raises on purpose.

    Attributes:
        code: Stable machine-readable name of the error.
        message: One or two sentences for people: what failed and what to do next.
        payload: Further structured facts, safe to show to the caller.
    """

    default_code = "server_error"

    def __init__(self, message: str, *, code: str | None = None, payload: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.payload = payload


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of an input."""

    code: str
    message: str
    path: Sequence[str | int] = ()


class InvalidInputError(PerdureError):
    """The request cannot be carried out as it was made.

    Attributes:
        errors: Each field that is wrong, all of them at once.
    """

    default_code = "invalid_body"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        payload: Any = None,
    ) -> None:
        super().__init__(message, code=code, payload=payload)
        self.errors = tuple(errors)


class UnauthorizedError(PerdureError):
    """The key is missing, malformed or not known."""

    default_code = "unknown_account"


class NotFoundError(PerdureError):
    """What was named does not exist."""

    default_code = "not_found"


class ConflictError(PerdureError):
    """The present state does not allow it."""

    default_code = "conflict"


class UnavailableError(PerdureError):
    """A server we need does not answer; the same request may succeed later."""

    default_code = "service_unavailable"


class UpstreamError(PerdureError):
    """The provider's API answered with an error, or could not be reached at all.

    Attributes:
        status: Status of the answer, None when there was no answer.
        headers: Headers of the answer with lower-case names.
        body: Decoded body of the answer.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds the provider asks to wait, None when it did not say.
    """

    default_code = "script_http_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        self.retryable = retryable
        self.retry_after = retry_after


class CredentialsError(PerdureError):
    """The provider does not take the credentials of a connection any more; others are needed."""

    default_code = "invalid_credentials"


class StartupError(PerdureError):
    """The process cannot start as it is set up; the message is the one line a person needs."""

    default_code = "startup_failed"
