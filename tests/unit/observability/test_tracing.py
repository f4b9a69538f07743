"""Where traces go, and what happens where they cannot."""

from __future__ import annotations

import importlib.util
import time

import pytest
from structlog.testing import capture_logs

from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.observability.tracing import current_trace, open_tracing, outbound_span, request_span

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


async def test_without_an_endpoint_there_are_no_spans() -> None:
    async with open_tracing("perdure-api", endpoint=None) as traces:
        assert traces is None
        with request_span("GET", HEADERS) as span:
            assert not span.is_recording()
            assert current_trace() == {}


async def test_without_the_extra_the_log_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with capture_logs() as logged:
        async with open_tracing("perdure-api", endpoint="http://collector:4318") as traces:
            assert traces is None

    (line,) = logged
    assert (line["event"], line["log_level"]) == ("traces_not_sent", "warning")
    assert "perdure[otel]" in line["reason"]


async def test_a_collector_that_is_away_holds_up_no_work_and_the_end_for_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = f"http://{LOOPBACK}:{choose_ports({'nobody': 0})['nobody']}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    async with open_tracing("perdure-api", endpoint=endpoint):
        began = time.monotonic()
        for _ in range(1000):
            with (
                request_span("GET", HEADERS) as span,
                outbound_span("GET", "https://api.example.com/?key=hush", {}),
            ):
                assert span.is_recording()
        assert time.monotonic() - began < 10
        began = time.monotonic()
    assert time.monotonic() - began < 9
