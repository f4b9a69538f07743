"""Requests to providers: credentials in, secrets out of the way, failures decided.

One call is one attempt. A failure is raised as `UpstreamError` with all that the caller's retry
engine needs: whether the request may be repeated and how long the provider asks to wait.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NoReturn, TypeAlias

from pydantic import JsonValue

from perdure._version import __version__
from perdure.clock import utcnow
from perdure.connections.credentials import Credentials
from perdure.errors import UpstreamError
from perdure.providers.provider import Provider
from perdure.proxy.auth import Injection, inject, provider_base_url, secrets_of, template_variables
from perdure.proxy.bodies import decode_body, decode_text, encode_body
from perdure.proxy.exchange import NetworkError, OutgoingRequest, RawResponse, Transport
from perdure.proxy.pagination import Page, PageState, extract_items, next_page, page_request
from perdure.proxy.redaction import MIN_SECRET, Redactor, is_sensitive_name
from perdure.proxy.requests import HttpRequest, HttpResponse, LinkPaginate, Paginate
from perdure.proxy.retry import NetworkFailure, Outcome, decide
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

    def __init__(self, transport: Transport, *, clock: Callable[[], datetime] = utcnow) -> None:
        self._transport = transport
        self._clock = clock

    async def send(
        self,
        request: HttpRequest,
        *,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        observe: Observer | None = None,
    ) -> HttpResponse:
        """Make one attempt at a request.

        Args:
            request: What the script asks for.
            provider: Entry of the connection's provider.
            credentials: Credentials of the connection.
            connection_config: Parameters of the connection.
            observe: Told of the request and its answer, whatever its status.

        Returns:
            The answer; its status is 2xx.

        Raises:
            UpstreamError: If the answer has another status (code `script_http_error`), or there
                was none (code `script_network_error`, `too_many_redirects`, `invalid_redirect`).
            InvalidInputError: If the request cannot be made as it is, or its host is in a private
                network (code `url_not_allowed`).
        """
        raw = await self._exchange(request, provider, credentials, connection_config, observe)
        data, is_base64 = decode_body(raw.content, raw.headers, request.response_type)
        # The data was just decoded from JSON: to validate it again would cost more than that did.
        return HttpResponse.model_construct(
            status=raw.status,
            headers=raw.headers,
            data=data,
            is_base64=is_base64,
            echoed=_echoed(credentials, raw),
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
            observe: Told of the request and its answer, whatever its status.

        Raises:
            UpstreamError: As `send`; also with code `unexpected_response` if the page is not as
                the options say, and `pagination_loop` if the pages go in a circle.
            InvalidInputError: If the request cannot be made as it is.
        """
        asked = page_request(request, paginate, state)
        raw = await self._exchange(asked, provider, credentials, connection_config, observe)
        body, _ = decode_body(raw.content, raw.headers, "json")
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
            echoed=_echoed(credentials, raw),
        )

    async def _exchange(
        self,
        request: HttpRequest,
        provider: Provider,
        credentials: Credentials,
        connection_config: Mapping[str, JsonValue],
        observe: Observer | None,
    ) -> RawResponse:
        variables = template_variables(credentials, connection_config)
        base_url = request.base_url_override or provider_base_url(provider, variables)
        target = resolve(request, check_base_url(base_url))
        injection = inject(provider, credentials, variables)
        outgoing = _outgoing(request, provider, target, injection)
        try:
            raw = await self._transport.send(outgoing)
        except NetworkError as error:
            redactor = Redactor(secrets_of(credentials))
            self._raise_unanswered(error, request, provider, outgoing, redactor)
        if observe is not None:
            observe(request, raw)
        if not 200 <= raw.status < 300:
            redactor = Redactor(secrets_of(credentials))
            self._raise_refused(raw, request, provider, outgoing, redactor)
        return raw

    def _raise_unanswered(
        self,
        error: NetworkError,
        request: HttpRequest,
        provider: Provider,
        outgoing: OutgoingRequest,
        redactor: Redactor,
    ) -> NoReturn:
        decision = decide(Outcome(failure=error.failure), request, provider, now=self._clock())
        raised = UpstreamError(
            f"{outgoing.method} {redactor.url(outgoing.url)} failed: {redactor.text(str(error))}",
            code=_NETWORK_CODES.get(error.failure, "script_network_error"),
            retryable=decision.retry,
            retry_after=decision.delay,
        )
        raised.payload = {"retry_reason": decision.reason.value}
        raise raised from error

    def _raise_refused(
        self,
        raw: RawResponse,
        request: HttpRequest,
        provider: Provider,
        outgoing: OutgoingRequest,
        redactor: Redactor,
    ) -> NoReturn:
        text = redactor.text(decode_text(raw.content, raw.headers))
        body: JsonValue = text[:_MAX_ERROR_BODY]
        if len(text) <= _MAX_ERROR_BODY:
            # Without its charset, because the text is encoded anew.
            media_type = raw.headers.get("content-type", "").partition(";")[0]
            body, _ = decode_body(text.encode(), {"content-type": media_type})
        decision = decide(
            Outcome(status=raw.status, headers=raw.headers, body=body),
            request,
            provider,
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


def _echoed(credentials: Credentials, raw: RawResponse) -> tuple[str, ...]:
    """Return the credentials that an answer repeats, as some APIs do when asked about a key."""
    return tuple(
        secret
        for secret in secrets_of(credentials)
        if len(secret) >= MIN_SECRET
        and (secret.encode() in raw.content or any(secret in v for v in raw.headers.values()))
    )


_NETWORK_CODES: Mapping[NetworkFailure, str] = {
    NetworkFailure.BAD_REDIRECT: "invalid_redirect",
    NetworkFailure.TOO_MANY_REDIRECTS: "too_many_redirects",
}


def _outgoing(
    request: HttpRequest, provider: Provider, target: Target, injection: Injection
) -> OutgoingRequest:
    headers = dict(DEFAULT_HEADERS)
    url = target.url
    if target.trusted:
        headers |= {**injection.headers, **request.headers}
        present = query_names(url)
        url = add_query(url, [(n, v) for n, v in injection.query.items() if n not in present])
    else:
        headers |= {n: v for n, v in request.headers.items() if not is_sensitive_name(n)}
    content_type = headers.pop("content-type", None)
    body = None if request.data is None else encode_body(request.data, content_type)
    key_header = provider.proxy.idempotency_header
    if key_header and request.idempotency_key and request.method in {"POST", "PATCH"}:
        headers.setdefault(key_header, request.idempotency_key)
    return OutgoingRequest(
        method=request.method,
        url=url,
        headers=headers,
        body=body,
        timeout_s=request.timeout_s,
        secret_headers=injection.secret_headers,
        forward_headers_on_redirect=request.forward_headers_on_redirect
        or provider.proxy.forward_headers_on_redirect,
    )
