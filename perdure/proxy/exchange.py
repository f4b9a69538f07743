"""What goes over the wire and what comes back, for whoever carries it out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from perdure.proxy.bodies import RequestBody
from perdure.proxy.retry import NetworkFailure

__all__ = [
    "BodyStream",
    "IncomingResponse",
    "NetworkError",
    "OutgoingRequest",
    "RawResponse",
    "StreamingTransport",
    "Transport",
    "Watch",
]


class BodyStream(Protocol):
    """The body of a request, piece by piece."""

    @property
    def content_type(self) -> str | None:
        """Its `content-type` header."""

    @property
    def length(self) -> int | None:
        """Bytes of all pieces, None if nobody knows yet."""

    @property
    def repeatable(self) -> bool:
        """Whether `pieces` can begin at the beginning."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Begin at the beginning."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request as it goes out, with credentials.

    Attributes:
        url: Absolute.
        headers: By lower-case name.
        timeout_s: Seconds for the whole exchange; where the answer is streamed, the longest
            silence.
        secret_headers: Names that are left out when a redirect leaves the origin, besides all
            that are not known to be harmless.
        forward_headers_on_redirect: Keep them all the same.
        follow_redirects: Whether a redirect is followed, or is the answer.
        purpose: What it is for, for whoever watches.
        provider: Name of the provider it is for, empty where it is for none.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: RequestBody | BodyStream | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    secret_headers: frozenset[str] = frozenset()
    forward_headers_on_redirect: bool = False
    follow_redirects: bool = True
    purpose: Literal["api", "token", "webhook", "fetch"] = "fetch"
    provider: str = ""


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


class IncomingResponse(Protocol):
    """An answer whose body is still to come."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; repeated ones are joined by a comma."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came, one by one."""

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it comes, still compressed; only once.

        Raises:
            NetworkError: If it breaks off.
        """


class NetworkError(Exception):
    """There was no complete answer.

    Attributes:
        failure: Why.
    """

    def __init__(self, failure: NetworkFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class Watch(Protocol):
    """Is told of each request that goes over the wire, each redirect for itself."""

    def __call__(self, request: OutgoingRequest) -> AbstractContextManager[Callable[[int], None]]:
        """Open when the request leaves, to be told its status and closed when headers are there."""


class Transport(Protocol):
    """Carries requests out."""

    async def send(self, request: OutgoingRequest) -> RawResponse:
        """Return the answer to a request, whatever its status.

        Raises:
            NetworkError: If there was no complete answer.
            InvalidInputError: If the URL is not allowed, or the request cannot be written.
        """


class StreamingTransport(Transport, Protocol):
    """Carries requests out, and hands over answers before they are complete."""

    def open(self, request: OutgoingRequest) -> AbstractAsyncContextManager[IncomingResponse]:
        """Return the answer to a request, whatever its status, once its headers are there.

        Raises:
            NetworkError: If there was none.
            InvalidInputError: As `send`.
        """
