"""Keeps what dry runs ask providers and are answered, where a test is to be made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from temporalio import activity

from activities.connections import ResolvedConnection
from perdure.db.dry_runs import DryRunStore
from perdure.proxy.auth import secrets_of
from perdure.proxy.client import Observer
from perdure.proxy.exchange import RawResponse
from perdure.proxy.plain import FetchRequest
from perdure.proxy.recording import asked_by, asked_of_url, recorded
from perdure.proxy.redaction import Redactor
from perdure.proxy.requests import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from activities.http import ProxyInput

__all__ = ["ExchangeLog"]

_BYTES = frozenset({"arraybuffer", "blob", "stream"})


class ExchangeLog:
    """Keeps requests and answers of dry runs without the connection's credentials.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: DryRunStore) -> None:
        self._store = store

    @asynccontextmanager
    async def keeping(
        self, call: ProxyInput, target: ResolvedConnection
    ) -> AsyncIterator[Observer | None]:
        """Give what is to be told of the exchange inside, and keep it at the end."""
        if call.kept_for is None:
            yield None
            return
        seen: list[tuple[HttpRequest, RawResponse]] = []

        def observe(request: HttpRequest, raw: RawResponse) -> None:
            seen.append((request, raw))

        try:
            yield observe
        finally:
            for request, raw in seen:
                exchange = recorded(
                    asked_by(request),
                    raw,
                    Redactor(secrets_of(target.credentials)),
                    as_bytes=request.response_type in _BYTES,
                )
                step = _step()
                if number := getattr(call, "number", 0):
                    step = f"{step}:{number}"
                await self._store.note_exchange(
                    call.kept_for, request.idempotency_key or step, exchange
                )

    async def keep_fetch(
        self, run_id: str | None, request: FetchRequest, response: HttpResponse
    ) -> None:
        """Keep an exchange that was made without credentials."""
        if run_id is None:
            return
        asked = asked_of_url(request.method, request.url)
        exchange = {
            "method": asked.method,
            "path": asked.path,
            "params": dict(asked.params),
            "status": response.status,
            "headers": {k: v for k, v in response.headers.items() if k == "content-type"},
            "response": response.data,
            "is_base64": response.is_base64,
        }
        await self._store.note_exchange(run_id, _step(), exchange)


def _step() -> str:
    info = activity.info()
    return f"{info.workflow_run_id}:{info.activity_id}"
