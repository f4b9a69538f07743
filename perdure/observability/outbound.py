"""Measures the requests that leave a process; see `perdure.proxy.exchange.Watch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from perdure.observability.metrics import OUTBOUND_SECONDS
from perdure.observability.tracing import outbound_span

__all__ = ["Outbound", "watched"]

_NO_ANSWER = "none"


class Outbound(Protocol):
    """What is told of a request that leaves; nothing else of it is looked at."""

    @property
    def purpose(self) -> str:
        """What it is for."""

    @property
    def provider(self) -> str:
        """Which provider it is for."""

    @property
    def method(self) -> str:
        """Its method."""

    @property
    def url(self) -> str:
        """Its URL, of which only the host is told."""


@contextmanager
def watched(request: Outbound) -> Iterator[Callable[[int], None]]:
    """Measure a request, which is told its status inside; without one there was no answer."""
    status = _NO_ANSWER
    began = time.perf_counter()
    whose = {"purpose": request.purpose, "provider": request.provider}
    try:
        with outbound_span(request.method, request.url, whose) as span:

            def told(code: int) -> None:
                nonlocal status
                status = f"{code // 100}xx"
                span.set_attribute("http.response.status_code", code)

            yield told
    finally:
        OUTBOUND_SECONDS.record(time.perf_counter() - began, status=status, **whose)
