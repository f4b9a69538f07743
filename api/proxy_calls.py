"""Calls of providers on behalf of an application: attempts, and which of their answers counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from activities.connections import ConnectionRef, ConnectionResolver, ResolvedConnection
from perdure.errors import UpstreamError
from perdure.observability.metrics import PROVIDER_WAIT_SECONDS
from perdure.proxy.auth import secrets_of
from perdure.proxy.bodies import RequestBody
from perdure.proxy.client import ProxyClient
from perdure.proxy.redaction import Redactor
from perdure.proxy.requests import HttpRequest
from perdure.proxy.streaming import PassingBody, StreamedAnswer

__all__ = ["Proxied", "ProxyCalls"]

_PATIENCE_S = 300.0
"""All waits of a call together: a caller holds its connection meanwhile."""

_FIRST_WAIT_S = 1.0
_UNAUTHORIZED = 401

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proxied:
    """An answer that counts.

    Attributes:
        answer: As it comes.
        decompress: Whether its body is to be decompressed.
    """

    answer: StreamedAnswer
    decompress: bool


class ProxyCalls:
    """Makes calls, with the same client as the helper of scripts.

    Args:
        connections: Finds credentials.
        client: Makes attempts.
        patience: Seconds that all waits between attempts may take together.
    """

    def __init__(
        self,
        connections: ConnectionResolver,
        client: ProxyClient,
        *,
        patience: float = _PATIENCE_S,
    ) -> None:
        self._connections = connections
        self._client = client
        self._patience = patience

    @asynccontextmanager
    async def open(
        self, ref: ConnectionRef, request: HttpRequest, body: RequestBody | PassingBody | None
    ) -> AsyncGenerator[Proxied, None]:
        """Make a call and hand over its answer, whatever its status, once its headers are there.

        A failed attempt is repeated as often as `retries` says, where that is possible: a body
        that cannot be sent again ends it, and so does a wait that would take too long. What the
        last attempt came to is the answer. Credentials that are refused are renewed, and with
        others the request is made once more.

        Args:
            ref: Whose credentials it is made with.
            request: What is asked for.
            body: Its body.

        Raises:
            UpstreamError: If there was no answer.
            InvalidInputError: If the request cannot be made.
            NotFoundError: If there is no such connection.
            CredentialsError: If its credentials have ended and cannot be renewed.
        """
        began = time.perf_counter()
        async with AsyncExitStack() as stack:
            call = _Call(ref, request, body, stack)
            try:
                answer, target = await self._answered(call)
            except UpstreamError as error:
                _log(call, began, error=error.code)
                raise
            _log(call, began, status=answer.status)
            decompress = request.decompress or target.provider.proxy.decompress
            yield Proxied(answer, decompress and answer.can_be_decompressed)

    async def _answered(self, call: _Call) -> tuple[StreamedAnswer, ResolvedConnection]:
        waited = 0.0
        renewed: ResolvedConnection | None = None
        while True:
            target = call.target = renewed or await self._connections.resolve(call.ref)
            call.attempts += 1
            try:
                answer = await self._attempt(call, target)
            except UpstreamError as error:
                asked = error.retry_after
                wait = self._wait(call, error.retryable, asked, waited)
                if wait is None:
                    raise
            else:
                if answer.status < 300:
                    return answer, target
                if renewed is not None and answer.status == _UNAUTHORIZED:
                    self._connections.note_hopeless(call.ref, target.credentials)
                renewed = await self._renewed(call, target, answer)
                if renewed is not None:
                    await call.stack.aclose()
                    continue
                rule = target.provider.proxy.retry.in_body
                decision = await answer.decision(look_into_body=rule is not None)
                asked = decision.delay
                wait = self._wait(call, decision.retry, asked, waited)
                if wait is None:
                    return answer, target
            if asked is not None:
                PROVIDER_WAIT_SECONDS.record(asked, integration=call.ref.integration)
            await call.stack.aclose()
            waited += wait
            call.repeated += 1
            await asyncio.sleep(wait)

    async def _attempt(self, call: _Call, target: ResolvedConnection) -> StreamedAnswer:
        return await call.stack.enter_async_context(
            self._client.stream(
                call.request,
                provider=target.provider,
                credentials=target.credentials,
                connection_config=target.connection.connection_config,
                client=target.client,
                body=call.body,
            )
        )

    async def _renewed(
        self, call: _Call, target: ResolvedConnection, answer: StreamedAnswer
    ) -> ResolvedConnection | None:
        """Return the connection with other credentials than the refused ones, where it has any."""
        if answer.status != _UNAUTHORIZED or call.was_refused or not call.is_repeatable:
            return None
        call.was_refused = True
        return await self._connections.renew(call.ref, target.credentials)

    def _wait(
        self, call: _Call, repeatable: bool, asked: float | None, waited: float
    ) -> float | None:
        """Return how long to wait before the next attempt, None if there is none."""
        if not repeatable or call.repeated >= (call.request.retries or 0):
            return None
        if not call.is_repeatable:
            return None
        wait = _FIRST_WAIT_S * 2.0**call.repeated if asked is None else asked
        return wait if waited + wait <= self._patience else None


@dataclass(slots=True)
class _Call:
    ref: ConnectionRef
    request: HttpRequest
    body: RequestBody | PassingBody | None
    stack: AsyncExitStack
    target: ResolvedConnection | None = None
    attempts: int = 0
    repeated: int = 0
    was_refused: bool = False

    @property
    def is_repeatable(self) -> bool:
        return not isinstance(self.body, PassingBody) or self.body.repeatable


def _log(call: _Call, began: float, *, status: int | None = None, error: str | None = None) -> None:
    target = call.target
    if target is None:
        return
    # Without the query, in which callers put whatever their provider wants.
    path = call.request.endpoint.partition("?")[0]
    log.info(
        "proxied",
        provider=target.provider.name,
        integration=call.ref.integration,
        connection=call.ref.connection_id,
        method=call.request.method,
        path=Redactor(secrets_of(target.credentials)).text(path),
        status=status,
        error=error,
        attempts=call.attempts,
        duration_ms=round((time.perf_counter() - began) * 1000, 1),
    )
