"""What goes over the wire and what comes back, for whoever carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from perdure.proxy.bodies import RequestBody
from perdure.proxy.retry import NetworkFailure

__all__ = ["NetworkError", "OutgoingRequest", "RawResponse", "Transport"]


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request as it goes out, with credentials.

    Attributes:
        url: Absolute.
        headers: By lower-case name.
        timeout_s: Seconds for the whole exchange.
        secret_headers: Names that are left out when a redirect leaves the origin, besides those
            that are secret by their name.
        forward_headers_on_redirect: Keep them all the same.
        follow_redirects: Whether a redirect is followed, or is the answer.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: RequestBody | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    secret_headers: frozenset[str] = frozenset()
    forward_headers_on_redirect: bool = False
    follow_redirects: bool = True


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An answer with its body as bytes.

    Attributes:
        headers: By lower-case name; repeated ones are joined by a comma.
        content: Decompressed.
    """

    status: int
    headers: dict[str, str]
    content: bytes = field(repr=False)


class NetworkError(Exception):
    """There was no complete answer.

    Attributes:
        failure: Why.
    """

    def __init__(self, failure: NetworkFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class Transport(Protocol):
    """Carries requests out."""

    async def send(self, request: OutgoingRequest) -> RawResponse:
        """Return the answer to a request, whatever its status.

        Raises:
            NetworkError: If there was no complete answer.
            InvalidInputError: If the URL is not allowed, or the request cannot be written.
        """
