"""Requests to providers: credentials in, secrets out of the way, failures decided.

One call is one attempt. A failure is raised as `UpstreamError` with all that the caller's retry
engine needs: whether the request may be repeated and how long the provider asks to wait.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn, TypeAlias

import orjson
from pydantic import JsonValue

from perdure._version import __version__
from perdure.clock import utcnow
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import Credentials
from perdure.connections.interpolation import RequestVariables
from perdure.errors import UpstreamError
from perdure.providers.provider import Provider
from perdure.proxy.auth import Injection, inject, provider_base_url, secrets_of, template_variables
from perdure.proxy.bodies import RequestBody, decode_body, decode_text, encode_body
from perdure.proxy.exchange import (
    BodyStream,
    NetworkError,
    OutgoingRequest,
    RawResponse,
    StreamingTransport,
)
from perdure.proxy.pagination import Page, PageState, extract_items, next_page, page_request
from perdure.proxy.redaction import MIN_SECRET, Redactor
from perdure.proxy.redirects import harmless
from perdure.proxy.requests import HttpRequest, HttpResponse, LinkPaginate, Paginate
from perdure.proxy.retry import NetworkFailure, Outcome, decide
from perdure.proxy.streaming import StreamedAnswer
from perdure.proxy.urls import Target, add_query, check_base_url, query_names, resolve

__all__ = ["DEFAULT_HEADERS", "Observer", "ProxyClient"]

Observer: TypeAlias = Callable[[HttpRequest, RawResponse], None]
"""Sees what was asked, without credentials, and what came back, with whatever it repeats."""

DEFAULT_HEADERS: Mapping[str, str] = {
    "accept": "application/json, text/plain, */*",
    "accept-encoding": "gzip, deflate",
    "user-agent": f"perdure/{__version__} (python {platform.python_version()})",
}
"""Sent where neither provider nor author gives a header of the name."""

_MAX_EXCERPT = 300
_MAX_ERROR_BODY = 32_768


class ProxyClient:
    """Makes requests on behalf of connections.

    Args:
        transport: Carries them out.
        clock: Tells the present moment, for waits that are given as a moment.
    """

    def __init__(
        self, transport: StreamingTransport, *, clock: Callable[[], datetime] = utcnow
    ) -> None:
        self._transport = transport
        self._clock = clock

    async def send(
        self,
        request: HttpRequest,
        *,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        client: ClientCredentials | None = None,
        observe: Observer | None = None,
    ) -> HttpResponse:
        """Make one attempt at a request.

        Args:
            request: What the script asks for.
            provider: Entry of the connection's provider.
            credentials: Credentials of the connection.
            connection_config: Parameters of the connection.
            client: What the connection's integration authenticates with.
            observe: Told of the request and its answer, whatever its status.

        Returns:
            The answer; its status is 2xx.

        Raises:
            UpstreamError: If the answer has another status (code `script_http_error`), or there
                was none (code `script_network_error`, `too_many_redirects`, `invalid_redirect`).
            InvalidInputError: If the request cannot be made as it is, or its host is in a private
                network (code `url_not_allowed`).
        """
        call = self._prepare(request, provider, credentials, connection_config, client=client)
        raw = await self._exchange(call, observe)
        data, is_base64 = decode_body(raw.content, raw.headers, request.response_type)
        # The data was just decoded from JSON: to validate it again would cost more than that did.
        return HttpResponse.model_construct(
            status=raw.status,
            headers=raw.headers,
            data=data,
            is_base64=is_base64,
            echoed=_echoed(call.credentials, raw),
        )

    async def fetch_page(
        self,
        request: HttpRequest,
        paginate: Paginate,
        state: PageState | None = None,
        *,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        client: ClientCredentials | None = None,
        observe: Observer | None = None,
    ) -> Page:
        """Make one attempt at a page of a paginated read.

        Args:
            request: The request as its author made it, the same for every page.
            paginate: Options of the read.
            state: `next` of the page before; None for the first page.
            provider: Entry of the connection's provider.
            credentials: Credentials of the connection.
            connection_config: Parameters of the connection.
            client: What the connection's integration authenticates with.
            observe: Told of the request and its answer, whatever its status.

        Raises:
            UpstreamError: As `send`; also with code `unexpected_response` if the page is not as
                the options say, and `pagination_loop` if the pages go in a circle.
            InvalidInputError: If the request cannot be made as it is.
        """
        asked = page_request(request, paginate, state)
        call = self._prepare(asked, provider, credentials, connection_config, client=client)
        raw = await self._exchange(call, observe)
        body, by_orjson = _decoded(raw)
        items = extract_items(body, paginate)
        following = next_page(
            request,
            paginate,
            state,
            body=body,
            headers=raw.headers,
            items=items,
            secret_params=provider.proxy.query.keys(),
        )
        return Page(
            items=items,
            next=following,
            status=raw.status,
            headers=raw.headers,
            deliver=bool(items) or isinstance(paginate, LinkPaginate),
            echoed=_echoed(call.credentials, raw),
            by_orjson=by_orjson,
        )

    @asynccontextmanager
    async def stream(
        self,
        request: HttpRequest,
        *,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        client: ClientCredentials | None = None,
        body: RequestBody | BodyStream | None = None,
    ) -> AsyncGenerator[StreamedAnswer, None]:
        """Make one attempt at a request, and hand its answer over before it is complete.

        Args:
            request: What is asked for; its `timeout_s` is the longest silence.
            provider: Entry of the connection's provider.
            credentials: Credentials of the connection.
            connection_config: Parameters of the connection.
            client: What the connection's integration authenticates with.
            body: Takes the place of the request's `data`.

        Returns:
            The answer, whatever its status. Leaving the context gives up what was not read.

        Raises:
            UpstreamError: If there was none.
            InvalidInputError: As `send`.
        """
        call = self._prepare(
            request, provider, credentials, connection_config, client=client, body=body
        )
        async with AsyncExitStack() as stack:
            try:
                incoming = await stack.enter_async_context(self._transport.open(call.outgoing))
            except NetworkError as error:
                self._raise_unanswered(error, call)
            yield StreamedAnswer(
                incoming,
                has_body=request.method != "HEAD",
                judge=lambda outcome: decide(outcome, request, provider, now=self._clock()),
                failed=lambda error: self._unanswered(error, call),
            )

    async def _exchange(self, call: _Call, observe: Observer | None) -> RawResponse:
        try:
            raw = await self._transport.send(call.outgoing)
        except NetworkError as error:
            self._raise_unanswered(error, call)
        if observe is not None:
            observe(call.request, raw)
        if not 200 <= raw.status < 300:
            self._raise_refused(raw, call)
        return raw

    def _prepare(
        self,
        request: HttpRequest,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        *,
        client: ClientCredentials | None,
        body: RequestBody | BodyStream | None = None,
    ) -> _Call:
        variables = replace(
            template_variables(credentials, connection_config, client),
            request=RequestVariables(
                method=request.method,
                endpoint=request.endpoint,
                path=request.endpoint.partition("?")[0],
            ),
            now=self._clock(),
        )
        base_url = request.base_url_override or provider_base_url(provider, variables)
        target = resolve(request, check_base_url(base_url))
        injection = inject(provider, credentials, variables, client)
        outgoing = _outgoing(request, provider, target, injection, body)
        client_secrets = client.secrets if client else ()
        return _Call(request, provider, secrets_of(credentials), client_secrets, outgoing)

    def _raise_unanswered(self, error: NetworkError, call: _Call) -> NoReturn:
        raise self._unanswered(error, call) from error

    def _unanswered(self, error: NetworkError, call: _Call) -> UpstreamError:
        outgoing, redactor = call.outgoing, call.redactor
        decision = decide(
            Outcome(failure=error.failure), call.request, call.provider, now=self._clock()
        )
        failed = UpstreamError(
            f"{outgoing.method} {redactor.url(outgoing.url)} failed: {redactor.text(str(error))}",
            code=_NETWORK_CODES.get(error.failure, "script_network_error"),
            retryable=decision.retry,
            retry_after=decision.delay,
        )
        failed.payload = {"retry_reason": decision.reason.value}
        return failed

    def _raise_refused(self, raw: RawResponse, call: _Call) -> NoReturn:
        outgoing, redactor = call.outgoing, call.redactor
        text = redactor.text(decode_text(raw.content, raw.headers))
        body: JsonValue = text[:_MAX_ERROR_BODY]
        if len(text) <= _MAX_ERROR_BODY:
            # Without its charset, because the text is encoded anew.
            media_type = raw.headers.get("content-type", "").partition(";")[0]
            body, _ = decode_body(text.encode(), {"content-type": media_type})
        decision = decide(
            Outcome(status=raw.status, headers=raw.headers, body=body),
            call.request,
            call.provider,
            now=self._clock(),
        )
        excerpt = " ".join(text[: 4 * _MAX_EXCERPT].split())[:_MAX_EXCERPT]
        raised = UpstreamError(
            f"{outgoing.method} {redactor.url(outgoing.url)} answered {raw.status}"
            f"{f': {excerpt}' if excerpt else ''}",
            status=raw.status,
            headers=redactor.headers(raw.headers),
            body=body,
            retryable=decision.retry,
            retry_after=decision.delay,
        )
        raised.payload = {"retry_reason": decision.reason.value}
        raise raised


@dataclass(frozen=True, slots=True)
class _Call:
    request: HttpRequest
    provider: Provider
    credentials: tuple[str, ...] = field(repr=False)
    client_secrets: tuple[str, ...] = field(repr=False)
    outgoing: OutgoingRequest

    @property
    def redactor(self) -> Redactor:
        return Redactor((*self.credentials, *self.client_secrets))


def _decoded(raw: RawResponse) -> tuple[JsonValue, bool]:
    """Return the JSON of an answer, and whether it is as orjson reads it."""
    try:
        return orjson.loads(raw.content), True
    except orjson.JSONDecodeError:
        return decode_body(raw.content, raw.headers, "json")[0], False


def _echoed(credentials: tuple[str, ...], raw: RawResponse) -> tuple[str, ...]:
    """Return the credentials that an answer repeats, as some APIs do when asked about a key."""
    return tuple(
        secret
        for secret in credentials
        if len(secret) >= MIN_SECRET
        and (secret.encode() in raw.content or any(secret in v for v in raw.headers.values()))
    )


_NETWORK_CODES: Mapping[NetworkFailure, str] = {
    NetworkFailure.BAD_REDIRECT: "invalid_redirect",
    NetworkFailure.TOO_MANY_REDIRECTS: "too_many_redirects",
}


def _outgoing(
    request: HttpRequest,
    provider: Provider,
    target: Target,
    injection: Injection,
    given: RequestBody | BodyStream | None,
) -> OutgoingRequest:
    headers = dict(DEFAULT_HEADERS)
    url = target.url
    if target.trusted:
        headers |= {**injection.headers, **request.headers}
        present = query_names(url)
        url = add_query(url, [(n, v) for n, v in injection.query.items() if n not in present])
    else:
        headers |= harmless(request.headers)
    content_type = headers.pop("content-type", None)
    body = given
    if body is None and request.data is not None:
        body = encode_body(request.data, content_type)
    key_header = provider.proxy.idempotency_header
    if key_header and request.idempotency_key and request.method in {"POST", "PATCH"}:
        headers.setdefault(key_header, request.idempotency_key)
    outgoing = OutgoingRequest(
        method=request.method,
        url=url,
        headers=headers,
        body=body,
        timeout_s=request.timeout_s,
        secret_headers=injection.secret_headers,
        forward_headers_on_redirect=request.forward_headers_on_redirect
        or provider.proxy.forward_headers_on_redirect,
        purpose="api",
        provider=provider.name,
    )
    if injection.signer is None or not target.trusted:
        return outgoing
    return injection.signer(outgoing)
