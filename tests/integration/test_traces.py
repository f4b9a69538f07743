"""Traces, as a collector gets them from real processes."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.collector import Collected, Collector, collector
from tests.support.deploys import eventually
from tests.support.dev import DevServer, dev_server
from tests.support.exposition import scrape
from tests.support.project import PAGINATED, project

CALLS_OUT = """
async def run_action(nango, input):
    if input.get("is_refused"):
        await nango.get(endpoint="/missing", retries=0)
    if input.get("fails"):
        raise nango.ActionError({"why": "the word is kerfuffle"})
    return (await nango.get(endpoint="/one", params={"q": "kerfuffle"})).data
"""
NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}


@dataclass
class Traced:
    """A running stack whose traces are collected."""

    dev: DevServer
    collector: Collector
    asked: list[Request]
    before: list[Callable[[], None]]
    provider: str

    async def act(self, *, fails: bool = False, is_refused: bool = False) -> str:
        """Call the action; returns the id of the request."""
        body = {"action_name": "echo", "input": {"fails": fails, "is_refused": is_refused}}
        path = "/action/trigger?why=kerfuffle"
        answer = await self.dev.client.post(path, json=body, headers=NAMED)
        request_id: str = answer.headers["x-request-id"]
        return request_id

    def log(self, process: str) -> list[dict[str, Any]]:
        text = (self.dev.data_dir / "logs" / f"{process}.log").read_text()
        # What follows the last line break is still being written.
        lines = text.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def found(self, wanted: Callable[[Collected], bool]) -> Collected:
        """Wait until a span has come, with all that it is below."""

        def complete() -> Collected | None:
            for each in self.collector.spans:
                if wanted(each):
                    try:
                        self.collector.path(each)
                    except KeyError:
                        continue
                    return each
            return None

        async def is_there() -> bool:
            return complete() is not None

        await eventually(is_there)
        span = complete()
        assert span is not None
        return span


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
async def traced(
    collected: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    asked: list[Request] = []
    before: list[Callable[[], None]] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        for act in before:
            act()
        return Response(json.dumps({"items": [{"id": "1", "title": "one"}], "next": None}))

    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "PERDURE_LOG_FORMAT": "json",
    }
    with HTTPServer() as provider:
        for path in ("/one", "/issues"):
            provider.expect_request(path).respond_with_handler(answer)
        async with dev_server(folder, env=environment) as dev:
            await dev.deploy(project(PAGINATED, CALLS_OUT))
            url = provider.url_for("").rstrip("/")
            await dev.connect(url)
            yield Traced(dev, collected, asked, before, url)


def sent_to_provider(each: Collected) -> bool:
    return each.span.name == "GET localhost" and each.attributes["perdure.purpose"] == "api"


async def test_one_trace_goes_from_the_request_to_the_request_that_leaves(traced: Traced) -> None:
    await traced.act()

    last = await traced.found(sent_to_provider)
    assert traced.collector.path(last) == [
        "POST /action/trigger",
        "StartWorkflow:action",
        "StartActivity:proxy",
        "RunActivity:proxy",
        "GET localhost",
    ]
    spans = traced.collector.trace(last.trace_id)
    services = {each.span.name: each.service for each in spans}
    assert services["POST /action/trigger"] == "perdure-api"
    assert services["RunActivity:proxy"] == "perdure-worker"
    assert services["RunWorkflow:action"] == "perdure-worker"
    assert last.attributes["http.response.status_code"] == "200"
    assert last.attributes["perdure.provider"] == "generic-api-key"


async def test_what_a_step_logs_says_whom_it_works_for_and_in_which_trace(traced: Traced) -> None:
    await traced.act(is_refused=True)

    (line,) = [each for each in traced.log("worker") if each["message"] == "request refused"]
    whose = ("environment", "integration", "connection_id", "script", "step", "attempt")
    assert [line[name] for name in whose] == ["dev", "tracker", "acme", "echo", "proxy", 1]
    (run,) = (await traced.dev.call("GET", "/runs?kind=action&status=failed"))["runs"]
    assert (line["run_id"], line["workflow_id"]) == (run["id"], run["workflow_id"])
    step = await traced.found(lambda each: each.span.span_id.hex() == line["span_id"])
    assert (step.span.name, step.trace_id) == ("RunActivity:proxy", line["trace_id"])
    assert step.attributes["error.type"] == "script_http_error"


async def test_a_line_about_a_request_names_its_trace(traced: Traced) -> None:
    request_id = await traced.act(fails=True)

    def mine() -> list[dict[str, Any]]:
        return [each for each in traced.log("api") if each.get("request_id") == request_id]

    # It is written when the answer has been sent.
    async def logged() -> bool:
        return bool(mine())

    await eventually(logged)
    (line,) = mine()
    root = await traced.found(lambda each: each.attributes.get("perdure.request_id") == request_id)
    assert line["trace_id"] == root.trace_id
    assert root.span.name == "POST /action/trigger"
    assert root.attributes["error.type"] == line["error"]


async def test_a_caller_with_a_key_may_hand_on_a_trace_and_a_stranger_may_not(
    traced: Traced,
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    await traced.dev.client.get("/integrations", headers=headers)
    async with httpx.AsyncClient(base_url=traced.dev.info["api_url"]) as stranger:
        answer = await stranger.get("/health", headers=headers)
    asked = answer.headers["x-request-id"]
    await traced.found(lambda each: each.attributes.get("perdure.request_id") == asked)

    assert [each.span.name for each in traced.collector.trace(trace_id)] == ["GET /integrations"]


@pytest.mark.slow
async def test_a_run_that_a_schedule_started_goes_on_in_its_trace_on_another_worker(
    traced: Traced,
) -> None:
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(traced.dev.kill("worker"))

    await traced.dev.connect(traced.provider, "killed")
    traced.before.append(kill)
    await traced.dev.trigger("killed")
    run = await traced.dev.finished_run("killed")
    traced.before.remove(kill)
    assert run["status"] == "success"
    assert killed

    def is_last(each: Collected) -> bool:
        run_id = each.attributes.get("temporalRunID")
        return each.span.name == "RunActivity:finish_sync" and run_id == run["id"]

    last = await traced.found(is_last)
    roots = [each.span.name for each in traced.collector.roots() if each.trace_id == last.trace_id]
    assert roots == ["StartWorkflow:sync"]


async def test_a_run_that_a_schedule_started_is_one_trace(traced: Traced) -> None:
    await traced.dev.trigger()
    run = await traced.dev.finished_run()
    assert run["status"] == "success"

    def step(name: str) -> Callable[[Collected], bool]:
        return lambda each: (
            each.span.name == f"RunActivity:{name}"
            and each.attributes["temporalRunID"] == run["id"]
        )

    last = await traced.found(step("finish_sync"))
    assert traced.collector.path(last)[0] == "StartWorkflow:sync"
    fetched = await traced.found(step("fetch_pages"))
    assert fetched.trace_id == last.trace_id
    roots = [each.span.name for each in traced.collector.roots() if each.trace_id == last.trace_id]
    assert roots == ["StartWorkflow:sync"]


async def test_providers_are_told_of_no_trace(traced: Traced) -> None:
    await traced.act()

    assert traced.asked
    told = {name.lower() for request in traced.asked for name, _ in request.headers}
    assert not {"traceparent", "tracestate", "baggage"} & told


async def test_no_span_says_what_was_said(traced: Traced) -> None:
    await traced.act()
    await traced.act(fails=True)
    await traced.dev.client.get("/oauth/callback?code=kerfuffle&state=kerfuffle")
    await traced.found(lambda each: each.span.name == "GET /oauth/callback")
    failed = await traced.found(
        lambda each: each.span.name == "CompleteWorkflow:action" and bool(each.span.events)
    )

    told = [each.key for event in failed.span.events for each in event.attributes]
    assert told == ["exception.type"]
    everything = b"".join(
        gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        for body in traced.collector.bodies
    )
    for word in (b"kerfuffle", b"key-of-acme", traced.dev.info["secret_key"].encode()):
        assert word not in everything


async def test_dev_tells_where_its_processes_serve_metrics(traced: Traced) -> None:
    await traced.act()

    urls = traced.dev.info["metrics_urls"]
    for process in ("api", "worker"):
        found = await scrape(urls[process].removeprefix("http://").removesuffix("/metrics"))
        assert found.value("perdure_process_start_time", process=f"perdure-{process}") > 1.7e9
