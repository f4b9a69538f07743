"""Makes spans and sends them; what needs the extra `otel` is here, and imported only with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from threading import Thread
from typing import Any, Final

import temporalio.worker
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, Tracer, set_span_in_context
from temporalio import workflow
from temporalio.contrib.opentelemetry import (
    TracingInterceptor,
    TracingWorkflowInboundInterceptor,
)

from perdure._version import __version__

__all__ = ["RunTracing", "Traces"]

_LAST_WORDS_SECONDS: Final = 3.0
_ROOT: Final = "__perdure_trace_root"
_KEPT: Final = frozenset({"exception.type"})


class Traces:
    """The tracer of a process, and what carries its traces through Temporal.

    Args:
        process: Name of the process, where the environment has none.
    """

    def __init__(self, process: str) -> None:
        named = OTELResourceDetector().detect().attributes
        own = {} if "service.name" in named else {"service.name": process}
        self._provider = TracerProvider(
            resource=Resource.create({"service.version": __version__, **own}),
            id_generator=_RunIds(),
            shutdown_on_exit=False,
        )
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(_Discreet(self._exporter))
        self._provider.add_span_processor(self._processor)
        self.tracer: Tracer = self._provider.get_tracer("perdure", __version__)
        self.interceptor = RunTracing(self.tracer)

    def close(self) -> None:
        """Send what is left, but do not wait long for a collector that does not answer."""
        sending = Thread(target=self._processor.force_flush, daemon=True)
        sending.start()
        sending.join(_LAST_WORDS_SECONDS)
        # Ends an attempt that waits to be repeated, for which the rest would wait, too.
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it says nothing of its result
        self._provider.shutdown()


class _Discreet(SpanExporter):
    """Leaves out what errors say: they may quote what a provider or a record says."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[
            Event(
                event.name,
                {name: text for name, text in (event.attributes or {}).items() if name in _KEPT},
                event.timestamp,
            )
            for event in span.events
        ],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class _RunIds(RandomIdGenerator):
    """Makes ids by chance, but for roots whose ids follow from their run."""

    chosen: ContextVar[bytes | None] = ContextVar("chosen", default=None)

    def generate_trace_id(self) -> int:
        chosen = self.chosen.get()
        return int.from_bytes(chosen[:16]) if chosen else super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen = self.chosen.get()
        return int.from_bytes(chosen[16:]) if chosen else super().generate_span_id()


class RunTracing(TracingInterceptor):
    """The SDK's interceptor, which also gives a trace to runs that nobody's request has started.

    A schedule hands no trace on. The ids of such a run's first span follow from its run id, so that
    whichever worker goes on with the run finds the same trace again, without anything that is kept.

    Args:
        tracer: Makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(tracer)

    def workflow_interceptor_class(
        self,
        input: temporalio.worker.WorkflowInterceptorClassInput,
    ) -> type[TracingWorkflowInboundInterceptor]:
        """See base class."""
        super().workflow_interceptor_class(input)
        input.unsafe_extern_functions[_ROOT] = self._root
        return _RunTracing

    def _root(
        self, run_id: str, name: str, attributes: Mapping[str, str], at_ns: int, is_new: bool
    ) -> dict[str, Any]:
        """Return the trace of a run, and span its start if it starts now."""
        token = _RunIds.chosen.set(hashlib.blake2b(run_id.encode(), digest_size=24).digest())
        try:
            span = self.tracer.start_span(
                name, Context(), SpanKind.INTERNAL, attributes, start_time=at_ns
            )
        finally:
            _RunIds.chosen.reset(token)
        if is_new:
            span.end(at_ns)
        carrier: dict[str, Any] = {}
        self.text_map_propagator.inject(carrier, set_span_in_context(span))
        return carrier


class _RunTracing(TracingWorkflowInboundInterceptor):
    def _load_workflow_context_carrier(self) -> Any:
        carrier = super()._load_workflow_context_carrier()
        if carrier is None:
            info = workflow.info()
            carrier = self._workflow_context_carrier = workflow.extern_functions()[_ROOT](
                info.first_execution_run_id,
                f"StartWorkflow:{info.workflow_type}",
                {"temporalWorkflowID": info.workflow_id},
                workflow.time_ns(),
                not workflow.unsafe.is_replaying(),
            )
        return carrier
