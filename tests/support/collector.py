"""A collector of traces: takes what OpenTelemetry's exporters send by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


@dataclass(frozen=True)
class Collected:
    """A span, and which service sent it."""

    service: str
    span: Span

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def attributes(self) -> dict[str, str]:
        return {
            each.key: each.value.string_value or str(each.value.int_value)
            for each in self.span.attributes
        }


@dataclass
class Collector:
    """What has come so far."""

    url: str
    spans: list[Collected] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def trace(self, trace_id: str) -> list[Collected]:
        return [each for each in self.spans if each.trace_id == trace_id]

    def roots(self) -> list[Collected]:
        return [each for each in self.spans if not each.span.parent_span_id]

    def path(self, last: Collected) -> list[str]:
        """Return the names of the spans from the root to one, itself included."""
        by_id = {each.span.span_id: each for each in self.trace(last.trace_id)}
        names = [last.span.name]
        while last.span.parent_span_id:
            last = by_id[last.span.parent_span_id]
            names.insert(0, last.span.name)
        return names


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with HTTPServer() as server:
        found = Collector(server.url_for("").rstrip("/"))

        def take(request: Request) -> Response:
            body = request.get_data()
            found.bodies.append(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    found.spans += [Collected(names["service.name"], each) for each in scope.spans]
            return Response(status=200)

        server.expect_request("/v1/traces", method="POST").respond_with_handler(take)
        yield found
