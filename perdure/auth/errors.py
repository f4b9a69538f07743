"""What goes wrong on the way to a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.errors import UpstreamError

__all__ = ["TokenError"]


class TokenError(UpstreamError):
    """No token was got.

    Attributes:
        lasting: Whether the same request will be refused again: the account has to be connected
            anew or the set-up mended. Otherwise it may succeed later.
        error: What the provider calls the error, such as `invalid_grant`; None if it did not say.
    """

    default_code = "token_request_failed"

    def __init__(
        self,
        message: str,
        *,
        lasting: bool,
        code: str | None = None,
        error: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            status=status,
            headers=headers,
            body=body,
            retryable=not lasting,
            retry_after=retry_after,
        )
        self.lasting = lasting
        self.error = error
