"""Requests to the providers' APIs, with the connection's credentials."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from temporalio import activity

from activities.connections import ConnectionRef, ConnectionResolver, ResolvedConnection
from activities.exchanges import ExchangeLog
from perdure.errors import CredentialsError, UpstreamError
from perdure.observability.metrics import PAGE_SECONDS, PROVIDER_WAIT_SECONDS
from perdure.proxy.client import Observer, ProxyClient
from perdure.proxy.pagination import Page, PageState
from perdure.proxy.requests import HttpRequest, HttpResponse, merge_paginate
from perdure.proxy.retry import may_be_repeated
from perdure.temporal.payloads import Payload

__all__ = ["FetchPageInput", "FetchedPage", "HttpActivities", "ProxyAnswer", "ProxyInput"]

AnswerT = TypeVar("AnswerT")

_Attempt: TypeAlias = Callable[[ResolvedConnection, Observer | None], Awaitable[AnswerT]]

_COOKIES = "set-cookie"
_UNAUTHORIZED = 401


class ProxyInput(Payload):
    """One request.

    Attributes:
        connection: Whose credentials it is made with.
        sealed: Whether the request itself carries a secret.
        kept_for: The dry run that keeps request and answer for a test, None where none does.
    """

    connection: ConnectionRef
    request: HttpRequest
    sealed: bool = False
    kept_for: str | None = None

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class ProxyAnswer(Payload):
    """The answer to a request; encrypted where it opens a session or repeats a credential."""

    response: HttpResponse

    def holds_secret(self) -> bool:
        """See base class."""
        return _COOKIES in self.response.headers or bool(self.response.echoed)


class FetchPageInput(ProxyInput):
    """A request for one page.

    Attributes:
        paginate: What the script says of the pagination, over the provider's own.
        state: Where the page begins; None is the first.
        number: Tells pages apart that one step fetches, 0 where it fetches one.
    """

    paginate: dict[str, Any] = {}
    state: PageState | None = None
    number: int = 0


class FetchedPage(Payload):
    """One page.

    Attributes:
        items: Its elements.
        next: Where the next one begins, None after the last.
        status: Status of the answer.
        headers: Headers of the answer.
        deliver: Whether the script gets the page: empty ones are handed out only where the
            provider paginates by links.
        echoed: Credentials of the connection that the page repeats; it is encrypted then.
    """

    items: list[Any]
    next: PageState | None = None
    status: int = 200
    headers: dict[str, str] = {}
    deliver: bool = True
    echoed: tuple[str, ...] = ()

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.echoed)


class HttpActivities:
    """Steps that speak to providers. One call is one attempt; Temporal does the repeating.

    Args:
        connections: Finds credentials.
        client: Makes the requests.
        exchanges: Keeps those of dry runs.
    """

    def __init__(
        self, connections: ConnectionResolver, client: ProxyClient, exchanges: ExchangeLog
    ) -> None:
        self._connections = connections
        self._client = client
        self._exchanges = exchanges

    @activity.defn
    async def proxy(self, call: ProxyInput) -> ProxyAnswer:
        """Make one request.

        Raises:
            UpstreamError: It failed; the error says whether and when to try again.
        """

        async def send(target: ResolvedConnection, observe: Observer | None) -> HttpResponse:
            return await self._client.send(
                call.request,
                provider=target.provider,
                credentials=target.credentials,
                connection_config=target.connection.connection_config,
                client=target.client,
                observe=observe,
            )

        return ProxyAnswer(response=await self._answer(call, send))

    @activity.defn
    async def may_be_repeated(self, call: ProxyInput) -> bool:
        """Say whether a request may be made again though its outcome is not known."""
        if call.request.retries == 0:
            return False
        return may_be_repeated(call.request, await self._connections.provider(call.connection))

    @activity.defn
    async def fetch_page(self, call: FetchPageInput) -> FetchedPage:
        """Fetch one page.

        Raises:
            UpstreamError: As `proxy`.
            InvalidInputError: Nothing says how the endpoint is paginated.
        """
        page = await self.page(call)
        return FetchedPage(
            items=page.items,
            next=page.next,
            status=page.status,
            headers={k: v for k, v in page.headers.items() if k != _COOKIES},
            deliver=page.deliver,
            echoed=page.echoed,
        )

    async def page(self, call: FetchPageInput) -> Page:
        """Fetch one page for a step that sends its heartbeats itself.

        Raises:
            UpstreamError: As `fetch_page`.
            InvalidInputError: As `fetch_page`.
        """

        async def fetch(target: ResolvedConnection, observe: Observer | None) -> Page:
            return await self._client.fetch_page(
                call.request,
                merge_paginate(target.provider.proxy.paginate, call.paginate),
                call.state,
                provider=target.provider,
                credentials=target.credentials,
                connection_config=target.connection.connection_config,
                client=target.client,
                observe=observe,
            )

        began = time.perf_counter()
        page = await self._answer(call, fetch)
        PAGE_SECONDS.record(time.perf_counter() - began, integration=call.connection.integration)
        return page

    async def _answer(self, call: ProxyInput, attempt: _Attempt[AnswerT]) -> AnswerT:
        """Make an attempt; where the API refuses the credentials, a second one with others."""
        target = await self._connections.resolve(call.connection)
        try:
            return await self._observed(call, target, attempt)
        except UpstreamError as error:
            renewed = await self._renewed(call, target, error)
            if renewed is None:
                raise
        try:
            return await self._observed(call, renewed, attempt)
        except UpstreamError as error:
            if error.status == _UNAUTHORIZED:
                self._connections.note_hopeless(call.connection, renewed.credentials)
            raise

    async def _observed(
        self, call: ProxyInput, target: ResolvedConnection, attempt: _Attempt[AnswerT]
    ) -> AnswerT:
        async with self._exchanges.keeping(call, target) as observe:
            try:
                return await attempt(target, observe)
            except UpstreamError as error:
                _note(error, target)
                if error.retry_after is not None:
                    PROVIDER_WAIT_SECONDS.record(
                        error.retry_after, integration=call.connection.integration
                    )
                raise

    async def _renewed(
        self, call: ProxyInput, target: ResolvedConnection, error: UpstreamError
    ) -> ResolvedConnection | None:
        """Return the connection with other credentials, None where there is no use in any."""
        if error.status != _UNAUTHORIZED:
            return None
        try:
            return await self._connections.renew(call.connection, target.credentials)
        except CredentialsError as refusal:
            error.message = f"{error.message} ({refusal.message})"
            return None


def _note(error: UpstreamError, target: ResolvedConnection) -> None:
    activity.logger.warning(
        "request refused",
        extra={
            "provider": target.provider.name,
            "status": error.status,
            "retryable": error.retryable,
            "attempt": activity.info().attempt,
        },
    )
