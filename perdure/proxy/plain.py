"""Requests that scripts make on their own account, without any connection's credentials.

They go through the same transport as all others: its guard, its limits and its rules of
redirection, by which authorization and cookies stay behind when another origin is met.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from perdure.errors import UpstreamError
from perdure.proxy.bodies import decode_body, encode_body
from perdure.proxy.client import DEFAULT_HEADERS
from perdure.proxy.exchange import NetworkError, OutgoingRequest, Transport
from perdure.proxy.requests import HeaderMap, HttpResponse, Method, upper_case
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.urls import split_url

__all__ = ["FetchRequest", "PlainClient"]

_TRANSIENT = frozenset({NetworkFailure.NOT_CONNECTED, NetworkFailure.INTERRUPTED})
_CODES = {
    NetworkFailure.BAD_REDIRECT: "invalid_redirect",
    NetworkFailure.TOO_MANY_REDIRECTS: "too_many_redirects",
}


class FetchRequest(BaseModel):
    """One request.

    Attributes:
        url: Absolute, of http or https.
        method: In any case; GET by default.
        headers: Sent as they are.
        body: Text is sent as it is; other values as JSON, or as the `content-type` header says.
        timeout_s: Seconds for the whole exchange, redirects and body included.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    method: Annotated[Method, BeforeValidator(upper_case)] = "GET"
    headers: HeaderMap = Field(default_factory=dict)
    body: JsonValue = None
    timeout_s: float = 60.0


class PlainClient:
    """Makes requests as they are.

    Args:
        transport: Carries them out.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def fetch(self, request: FetchRequest) -> HttpResponse:
        """Make one attempt at a request; its answer may have any status.

        Raises:
            UpstreamError: There was no answer: code `script_network_error`, `too_many_redirects`
                or `invalid_redirect`.
            InvalidInputError: The request cannot be made as it is, or its host is in a private
                network (code `url_not_allowed`).
        """
        parts = split_url(request.url)
        headers = {**DEFAULT_HEADERS, **request.headers}
        content_type = headers.pop("content-type", None)
        body = None if request.body is None else encode_body(request.body, content_type)
        outgoing = OutgoingRequest(
            method=request.method,
            url=parts.geturl(),
            headers=headers,
            body=body,
            timeout_s=request.timeout_s,
        )
        try:
            raw = await self._transport.send(outgoing)
        except NetworkError as error:
            # Of the URL only the host: what else it holds may be secret.
            raise UpstreamError(
                f"{request.method} {parts.scheme}://{parts.hostname} failed: {error}",
                code=_CODES.get(error.failure, "script_network_error"),
                retryable=error.failure in _TRANSIENT,
            ) from error
        data, is_base64 = decode_body(raw.content, raw.headers)
        return HttpResponse.model_construct(
            status=raw.status, headers=raw.headers, data=data, is_base64=is_base64
        )
