"""What Prometheus reads of a running stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pytest_httpserver import HTTPServer
from temporalio.bridge import temporal_sdk_bridge
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from api.app import create_app
from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.sync_watch import watching_syncs
from perdure.app.worker import workers
from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.errors import StartupError
from perdure.observability.instruments import INSTRUMENTS, Timing
from perdure.temporal.client import register_search_attributes
from tests.api.calls import client_of, connect, deploy
from tests.support.deploys import eventually
from tests.support.exposition import Exposed, scrape
from tests.support.project import project
from tests.support.promql import named
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}


@dataclass
class Measured:
    """A stack that serves metrics, with its API."""

    stack: Stack
    client: httpx.AsyncClient
    address: str

    async def scrape(self) -> Exposed:
        return await scrape(self.address)

    def tells(self, name: str, **labels: str) -> Callable[[], Awaitable[bool]]:
        """Say whether something is told of that was not counted before."""

        async def told() -> bool:
            return (await self.scrape()).value(name, **labels) > 0

        return told

    async def act(self) -> httpx.Response:
        body = {"action_name": "echo", "input": {"text": "hej"}}
        return await self.client.post("/action/trigger", json=body, headers=NAMED)


@pytest.fixture(scope="module")
async def measured(settings: Settings) -> AsyncIterator[Measured]:
    async with AsyncExitStack() as stack:
        address = f"{LOOPBACK}:{choose_ports({'metrics': 0})['metrics']}"
        own = await namespaced(settings, metrics_address=address)
        container = await stack.enter_async_context(open_container(own, name="perdure-measured"))
        await register_search_attributes(container.temporal)
        for worker in workers(container, container.transport):
            await stack.enter_async_context(worker)
        environment = await Stack.create(container)
        app = create_app(container)
        await stack.enter_async_context(app.router.lifespan_context(app))
        client = await stack.enter_async_context(client_of(app, environment.secret_key))
        yield Measured(environment, client, address)


@pytest.fixture
async def acme(measured: Measured, source: Source) -> Measured:
    """The same with a project and the connection `acme` to `source`."""
    await deploy(measured.client, project())
    await measured.client.delete("/connections/acme?provider_config_key=tracker")
    await connect(measured.client, source.url)
    return measured


async def run_sync(measured: Measured) -> None:
    stack = measured.stack
    database = stack.container.database
    connection = await database.connections.get(stack.environment.id, "tracker", "acme")
    await stack.run_sync(connection)


async def test_a_sync_is_counted_with_its_pages_and_records(acme: Measured, source: Source) -> None:
    before = await acme.scrape()
    await run_sync(acme)
    source.records = [{**source.records[0], "title": "changed"}, *source.records[1:200]]
    await run_sync(acme)
    after = await acme.scrape()

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    ours = {"environment": acme.stack.environment.name, "integration": "tracker"}
    ended = ours | {"kind": "sync", "script": "issues"}
    assert grown("perdure_runs_ended_total", **ended, outcome="success") == 2
    assert grown("perdure_runs_ended_total", **ended) == 2
    assert grown("perdure_run_duration_seconds_count", kind="sync", script="issues") == 2
    assert grown("perdure_run_duration_seconds_sum", kind="sync", script="issues") > 0
    records = ours | {"model": "Issue"}
    assert grown("perdure_records_total", **records, outcome="added") == 250
    assert grown("perdure_records_total", **records, outcome="updated") == 1
    assert grown("perdure_records_total", **records, outcome="unchanged") == 199
    assert grown("perdure_page_fetch_duration_seconds_count", integration="tracker") == 5
    asked = {"purpose": "api", "provider": "generic-api-key", "status": "2xx"}
    assert grown("perdure_outbound_request_duration_seconds_count", **asked) == 5


async def test_what_a_provider_asks_to_wait_is_measured(acme: Measured, source: Source) -> None:
    before = await acme.scrape()
    answers = [Response(status=429, headers={"Retry-After": "1"})]
    source.before = lambda _: answers.pop() if answers else None
    await run_sync(acme)
    after = await acme.scrape()

    for part in ("count", "sum"):
        name = f"perdure_provider_wait_seconds_{part}"
        assert after.value(name, integration="tracker") - before.value(name) == 1
    refused = {"purpose": "api", "status": "4xx"}
    name = "perdure_outbound_request_duration_seconds_count"
    assert after.value(name, **refused) - before.value(name, **refused) == 1


async def test_a_failed_run_is_counted_as_one(acme: Measured) -> None:
    await deploy(acme.client, project("async def fetch_data(nango):\n    raise ValueError('no')\n"))
    with pytest.raises(WorkflowFailureError):
        await run_sync(acme)

    found = await acme.scrape()
    assert found.value("perdure_runs_ended_total", kind="sync", outcome="failed") == 1


# A run that is under way, later than all others.
BEGUN = """
INSERT INTO runs (id, workflow_id, environment_id, kind, integration, connection_id,
                  connection_key, script, started_at)
SELECT gen_random_uuid(), workflow_id, environment_id, kind, integration, connection_id,
       connection_key, script, now()
  FROM runs WHERE environment_id = $1 LIMIT 1
"""


async def test_a_sync_that_failed_once_is_told_of_until_it_has_succeeded(acme: Measured) -> None:
    stack = acme.stack
    ours = {"environment": stack.environment.name, "integration": "tracker", "script": "issues"}
    await deploy(acme.client, project("async def fetch_data(nango):\n    raise ValueError('no')\n"))
    with pytest.raises(WorkflowFailureError):
        await run_sync(acme)
    database = stack.container.database
    await database.pool.execute(BEGUN, stack.environment.id)

    async with watching_syncs(database.overview, every=0.05):
        await eventually(acme.tells("perdure_syncs", **ours, outcome="failed"))
        failed = await acme.scrape()
        await deploy(acme.client, project())
        await run_sync(acme)
        await eventually(acme.tells("perdure_syncs", **ours, outcome="success"))
        succeeded = await acme.scrape()

    assert failed.value("perdure_syncs", **ours) == 1
    assert succeeded.value("perdure_syncs", **ours, outcome="failed") == 0


async def test_an_action_is_counted_where_it_was_waited_for(acme: Measured) -> None:
    assert (await acme.act()).status_code == 200

    found = await acme.scrape()
    ended = {"kind": "action", "script": "echo", "outcome": "success"}
    assert found.value("perdure_runs_ended_total", **ended) == 1
    asked = {"method": "POST", "route": "/action/trigger"}
    assert found.value("perdure_api_requests_total", **asked, status="200") == 1
    assert found.value("perdure_api_request_duration_seconds_count", **asked) == 1


async def test_requests_are_told_apart_by_route_and_never_by_what_callers_make_up(
    acme: Measured,
) -> None:
    for path in ("/runs/made-up-1", "/runs/made-up-2", "/made/up", "/dashboard/made-up"):
        await acme.client.get(path)
    await acme.client.request("MADEUP", "/runs")

    found = await acme.scrape()
    values = {value for _, labels, _ in found.samples for value in labels.values()}
    assert not [value for value in values if "made" in value.lower()]
    assert found.value("perdure_api_requests_total", route="/runs/{run_id}", status="404") == 2
    assert found.value("perdure_api_requests_total", route="none", method="other") == 1


async def test_reads_of_records_are_counted_by_their_route_whichever_way_they_go(
    acme: Measured,
) -> None:
    named = {"connection-id": "made-up", "provider-config-key": "made-up"}
    before = await acme.scrape()
    for path in ("/records?model=Issue", "/records?limit=0"):
        await acme.client.get(path, headers=named)

    found = await acme.scrape()
    refused = {"method": "GET", "route": "/records", "status": "400"}
    counts = [each.value("perdure_api_requests_total", **refused) for each in (before, found)]
    assert counts[1] == counts[0] + 2


async def test_requests_without_a_good_key_are_counted(acme: Measured) -> None:
    before = await acme.scrape()
    for key in ("", "Bearer 5b3f0a5e-6d0f-4e6a-9f43-9c2b1f6f3c11"):
        answer = await acme.client.get("/runs", headers={"authorization": key})
        assert answer.status_code == 401
    after = await acme.scrape()

    name = "perdure_api_refusals_total"
    assert after.value(name, reason="key") - before.value(name, reason="key") == 2


async def test_a_run_that_a_schedule_starts_says_how_late_it_is(acme: Measured) -> None:
    triggered = {"syncs": ["issues"], **{k.replace("-", "_"): v for k, v in NAMED.items()}}
    assert (await acme.client.post("/sync/trigger", json=triggered)).status_code == 200
    name = "perdure_schedule_lag_seconds_count"
    await eventually(acme.tells(name, integration="tracker"))

    found = await acme.scrape()
    assert found.value(name, integration="tracker") == 1
    assert 0 < found.value("perdure_schedule_lag_seconds_sum", integration="tracker") < 60


async def test_webhooks_to_the_application_are_counted_with_their_age(
    acme: Measured, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    settings = {"primary_url": httpserver.url_for("/hook")}
    assert (await acme.client.patch("/environment/webhooks", json=settings)).status_code == 200
    await run_sync(acme)

    name = "perdure_webhook_attempts_total"
    await eventually(acme.tells(name, type="sync", outcome="delivered"))

    found = await acme.scrape()
    assert found.value("perdure_webhook_age_seconds_count", outcome="delivered") >= 1
    assert found.value(
        "perdure_outbound_request_duration_seconds_count", purpose="webhook", status="2xx"
    )


async def test_the_sdk_and_the_pool_are_served_at_the_same_address(acme: Measured) -> None:
    await run_sync(acme)
    found = await acme.scrape()

    assert found.value("temporal_workflow_completed_total", workflow_type="sync") >= 1
    assert found.value("temporal_activity_schedule_to_start_latency_seconds_count") >= 1
    assert found.value("temporal_worker_task_slots_available", worker_type="ActivityWorker") > 0
    assert found.value("perdure_database_connections", state="most") == 10
    assert found.value("perdure_process_start_time", process="perdure-measured") > 1.7e9


async def test_the_dashboard_asks_the_sdk_for_what_it_serves(acme: Measured) -> None:
    await run_sync(acme)
    # What appears only when something has gone wrong is named in the SDK's library all the same.
    library = Path(temporal_sdk_bridge.__file__).read_bytes()

    served = (await acme.scrape()).names
    asked = {each.metric for each in named() if each.metric.startswith("temporal_")}
    assert len(asked) > 4
    for name in asked - served:
        assert name.removeprefix("temporal_").removesuffix("_total").encode() in library, name


async def test_what_is_served_is_declared(acme: Measured) -> None:
    await run_sync(acme)

    served = await acme.scrape()
    for each in INSTRUMENTS:
        suffix = "_count" if isinstance(each, Timing) else ""
        assert served.labels(each.exposed + suffix) in (set(each.labels), set()), each.name


async def test_an_address_that_cannot_be_listened_on_is_a_clear_error(
    measured: Measured, settings: Settings
) -> None:
    for address in (measured.address, "localhost:9464", "nonsense"):
        own = settings.model_copy(update={"metrics_address": address})
        with pytest.raises(StartupError, match="PERDURE_METRICS_ADDRESS") as caught:
            async with open_container(own, name="second"):
                pass
        assert caught.value.code == "metrics_address_unavailable"
