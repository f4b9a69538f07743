"""Traces: what a request to the API set off, down to the requests that left for providers.

They are sent by OTLP over HTTP to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; the other variables of
OpenTelemetry's SDK count as well. Without it, or without the extra `otel`, spans cost next to
nothing and go nowhere.

Spans say what was done, for whom and how it ended, by names, ids, codes and statuses. What an error
says, queries, headers, bodies and paths at providers are in none. The provider is ours alone: no
library that looks for a global one adds spans of its own, which might say more.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from perdure.observability.trace_export import Traces

__all__ = ["current_trace", "open_tracing", "outbound_span", "request_span"]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HANDED_ON: Final = ("traceparent", "tracestate")
_OFF: Final[Tracer] = NoOpTracer()

log = structlog.get_logger(__name__)


class _Current:
    tracer: Tracer = _OFF


@asynccontextmanager
async def open_tracing(process: str, *, endpoint: str | None) -> AsyncIterator[Traces | None]:
    """Send traces while the block runs, where somebody has said where to.

    Args:
        process: Name of the process; `OTEL_SERVICE_NAME` counts more.
        endpoint: Where they go; None for nowhere.

    Returns:
        What the process's Temporal client is to be given; None where there are no traces.
    """
    if endpoint is None:
        yield None
        return
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        reason = "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra is missing: perdure[otel]"
        log.warning("traces_not_sent", reason=reason)
        yield None
        return
    from perdure.observability.trace_export import Traces

    traces = Traces(process)
    _Current.tracer = traces.tracer
    try:
        yield traces
    finally:
        _Current.tracer = _OFF
        await asyncio.to_thread(traces.close)


def current_trace() -> dict[str, str]:
    """Return the ids of the trace and the span that are under way, empty where none is."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


@contextmanager
def request_span(method: str, headers: Mapping[str, str] | None) -> Iterator[Span]:
    """Span a request to the API; it is named anew once it is known what serves it.

    Args:
        method: Its method.
        headers: Headers of a caller whose trace it may belong to, None for a stranger's.
    """
    if _Current.tracer is _OFF:
        yield trace.INVALID_SPAN
        return
    handed_on = {name: headers[name] for name in _HANDED_ON if headers and name in headers}
    with _Current.tracer.start_as_current_span(
        method,
        context=_PROPAGATOR.extract(handed_on),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method},
    ) as span:
        yield span


@contextmanager
def outbound_span(method: str, url: str, whose: Mapping[str, str]) -> Iterator[Span]:
    """Span a request that leaves, until the headers of its answer are there.

    It is never told to whoever gets the request.

    Args:
        method: Its method.
        url: Its URL, of which the host alone is told.
        whose: What it is for.
    """
    if _Current.tracer is _OFF:
        yield trace.INVALID_SPAN
        return
    host = urlsplit(url).hostname or ""
    # Not made the current one: nothing is done inside that has spans of its own.
    span = _Current.tracer.start_span(
        f"{method} {host}",
        kind=SpanKind.CLIENT,
        attributes={"http.request.method": method, "server.address": host}
        | {f"perdure.{name}": text for name, text in whose.items() if text},
    )
    try:
        yield span
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()
