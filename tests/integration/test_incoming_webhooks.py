"""Webhooks of providers, from the request to the script that handles them."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from api.app import create_app
from perdure.db.connections import Connection
from perdure.db.runs import Run, RunStatus
from perdure.db.webhook_events import TaskStatus, WebhookEvent
from perdure.ids import webhook_dispatch_workflow_id, webhook_workflow_id
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import WebhookDispatchInput
from tests.api.calls import client_of
from tests.support.deploys import Deploys, eventually, files
from tests.support.incoming import SAVING, handled_by, rules, sweep, take
from tests.support.receiver import Receiver
from tests.support.source import Source
from tests.support.stack import Stack

SECRET = "hush-hush"


@pytest.fixture
async def app(stack: Stack) -> AsyncIterator[FastAPI]:
    app = create_app(stack.container)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def provider(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with client_of(app, None) as client:
        yield client


@pytest.fixture
async def connection(stack: Stack, source: Source) -> Connection:
    """Connection `acme` of `tracker`, whose webhooks are signed."""
    made = await stack.connect(source.url)
    await stack.container.database.integrations.update(
        stack.environment.id, "tracker", credentials={"webhook_secret": SECRET}
    )
    return made


async def send(
    client: httpx.AsyncClient,
    stack: Stack,
    payload: Any,
    *,
    secret: str = SECRET,
    environment: str | None = None,
    **headers: str,
) -> httpx.Response:
    """Send a webhook as the provider would."""
    body = json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(
        f"/webhook/{environment or stack.environment.name}/tracker",
        content=body,
        headers={
            "content-type": "application/json",
            "x-hub-signature-256": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}",
            **named,
        },
    )


async def sent(client: httpx.AsyncClient, stack: Stack, payload: Any, **options: Any) -> str:
    """Send a webhook that is taken; returns the id of its event."""
    answer = await send(client, stack, payload, **options)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-perdure-event"]


async def events(stack: Stack, **conditions: Any) -> list[WebhookEvent]:
    """Events, the oldest first."""
    store = stack.container.database.webhook_events
    found = await store.list(stack.environment.id, limit=10_000, **conditions)
    return list(reversed(found))


async def done(stack: Stack, count: int = 1, seconds: float = 40) -> list[WebhookEvent]:
    """Wait until so many events are pending no more."""
    async with asyncio.timeout(seconds):
        while True:
            found = await events(stack)
            if sum(event.status != "pending" for event in found) >= count:
                return found
            await asyncio.sleep(0.05)


async def runs(stack: Stack, **conditions: Any) -> list[Run]:
    """Runs of the kind `webhook`, the oldest first."""
    store = stack.container.database.runs
    found = await store.list(stack.environment.id, kind="webhook", limit=10_000, **conditions)
    return list(reversed(found))


async def test_webhook_is_handled_by_the_sync_that_subscribes_to_it(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by(subscriptions="issue.opened"))

    event_id = await sent(provider, stack, {"id": 1, "title": "a", "type": "issue.opened"})
    (event,) = await done(stack)

    assert (str(event.id), event.status, event.types) == (event_id, "processed", ("issue.opened",))
    assert [(r["id"], r["title"]) for r in await stack.records(connection)] == [("1", "a")]
    (run,) = await runs(stack)
    assert (run.script, run.connection_id, run.status) == ("issues", "acme", RunStatus.SUCCESS)
    assert run.counts == {"Issue": {"added": 1, "updated": 0, "deleted": 0, "unchanged": 0}}
    (task,) = await stack.container.database.webhook_events.tasks(event.id)
    assert (task.status, task.run_id) == (TaskStatus.SUCCESS, run.id)


async def test_environment_goes_by_its_name_or_its_public_name(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by())
    found = await stack.container.database.environments.by_id(stack.environment.id)
    public = str(found.uuid).upper()

    answers = [
        await send(provider, stack, {"id": 1, "title": "a"}),
        await send(provider, stack, {"id": 2, "title": "b"}, environment=public),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    await done(stack, 2)
    assert len(await stack.records(connection)) == 2


async def test_unknown_addresses_are_told(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    answer = await provider.post("/webhook/nowhere/tracker", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_environment")
    answer = await provider.post(f"/webhook/{stack.environment.name}/nothing", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_provider_config")
    assert (await provider.head(f"/webhook/{stack.environment.name}/tracker")).status_code == 200


async def test_webhook_that_is_not_genuine_is_refused_and_not_kept(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by())

    answers = [
        await send(provider, stack, {"id": 1}, secret="guessed"),
        await send(provider, stack, {"id": 1}, x_hub_signature_256=""),
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert [answer.json()["error"]["code"] for answer in answers] == [
        "webhook_signature_invalid",
        "webhook_signature_missing",
    ]
    assert await events(stack) == []


async def test_provider_without_rules_is_answered_and_nothing_is_kept(
    stack: Stack, provider: httpx.AsyncClient, source: Source
) -> None:
    database = stack.container.database
    await database.integrations.create(stack.environment.id, "tracker", "of-another-catalogue")

    answer = await send(provider, stack, {"id": 1})

    assert (answer.status_code, await events(stack)) == (204, [])


async def test_repeated_delivery_is_handled_once(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by())
    payload = {"id": 1, "title": "a"}

    ids = await asyncio.gather(
        *(sent(provider, stack, payload, x_webhook_id="d-1") for _ in range(10))
    )
    await done(stack)

    assert len(set(ids)) == 1
    assert len(await events(stack)) == 1
    assert len(await runs(stack)) == 1


async def test_webhook_goes_to_the_connection_that_it_names(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection, source: Source
) -> None:
    other = await stack.connect(source.url, connection_id="beta", metadata={"team": 7})
    await stack.deploy(handled_by())
    await rules(stack, connections={"match": [{"field": "metadata.team", "value": "${body.team}"}]})

    await sent(provider, stack, {"id": 1, "title": "a", "team": "7"})
    await sent(provider, stack, {"id": 2, "title": "b", "team": "8"})
    found = await done(stack, 2)

    assert [event.status for event in found] == ["processed", "ignored"]
    assert [r["id"] for r in await stack.records(other)] == ["1"]
    assert await stack.records(connection) == []

    await sent(provider, stack, {"id": 3, "title": "c"})
    await done(stack, 3)
    assert [r["id"] for r in await stack.records(other)] == ["1", "3"]
    assert [r["id"] for r in await stack.records(connection)] == ["3"]


async def test_sync_that_does_not_subscribe_is_left_alone(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by(subscriptions="issue.closed"))
    await sent(provider, stack, {"id": 1, "title": "a", "type": "issue.opened"})
    await stack.deploy(handled_by(subscriptions="[]"))
    await sent(provider, stack, {"id": 1, "title": "a", "type": "issue.opened"})

    assert [event.status for event in await events(stack)] == ["ignored", "ignored"]
    assert await runs(stack) == []


async def test_webhook_that_fails_holds_up_none_of_those_behind_it(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by())

    for payload in ({"id": 1, "title": "a"}, {"no": "id"}, {"id": 3, "title": "c"}):
        await sent(provider, stack, payload)
    found = await done(stack, 3)

    assert [event.status for event in found] == ["processed", "failed", "processed"]
    assert [r["id"] for r in await stack.records(connection)] == ["1", "3"]
    _, failed, _ = await runs(stack)
    assert failed.status is RunStatus.FAILED
    assert failed.error is not None
    assert (failed.error["type"], failed.error["file"]) == (
        "script_internal_error",
        "tracker/syncs/issues.py",
    )


async def test_failed_run_goes_on_with_the_mended_script(
    stack: Stack, app: FastAPI, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by())
    await sent(provider, stack, {"no": "id"})
    await done(stack)
    (run,) = await runs(stack)
    # It has closed a moment after its end was noted, and is not retried before.
    with pytest.raises(WorkflowFailureError):
        await stack.container.temporal.get_workflow_handle(run.workflow_id).result()
    mended = SAVING.replace('payload["id"]', 'payload.get("id", 9)').replace(
        'payload["title"]', '"mended"'
    )
    await stack.deploy(handled_by(mended))

    async with client_of(app, stack.secret_key) as client:
        answer = await client.post(f"/runs/{run.id}/retry", json={"bundle": "active"})
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(30):
            while (await client.get(f"/runs/{run.id}")).json()["status"] == "running":
                await asyncio.sleep(0.05)

    (event,) = await done(stack)
    assert event.status == "processed"
    assert [r["id"] for r in await stack.records(connection)] == ["9"]
    assert len(await runs(stack)) == 1


async def test_webhook_that_was_handled_can_be_handled_again(
    stack: Stack, app: FastAPI, provider: httpx.AsyncClient, connection: Connection
) -> None:
    await stack.deploy(handled_by(subscriptions="other"))
    event_id = await sent(provider, stack, {"id": 1, "title": "a"})
    await stack.deploy(handled_by())

    async with client_of(app, stack.secret_key) as client:
        answer = await client.post(f"/webhooks/events/{event_id}/replay")
        assert answer.status_code == 200, answer.text
        await done(stack)
        shown = (await client.get(f"/webhooks/events/{event_id}")).json()

    assert (shown["status"], shown["payload"]) == ("processed", {"id": 1, "title": "a"})
    assert [task["status"] for task in shown["handling"]] == ["success"]
    assert "x-hub-signature-256" not in shown["headers"]
    assert [r["id"] for r in await stack.records(connection)] == ["1"]


async def test_what_was_taken_while_temporal_was_away_is_found(
    stack: Stack, connection: Connection
) -> None:
    await stack.deploy(handled_by())
    await rules(stack, signature=None)
    taken = await take(stack, {"id": 1, "title": "a"})
    assert len(taken.connections) == 1
    assert [event.status for event in await events(stack)] == ["pending"]

    await sweep(stack)

    await done(stack)
    assert [r["id"] for r in await stack.records(connection)] == ["1"]


async def test_dispatch_that_is_ended_by_force_goes_on_without_doing_anything_twice(
    stack: Stack, connection: Connection
) -> None:
    slow = f"import asyncio\n{SAVING}".replace(
        "await nango", "await asyncio.sleep(1)\n    await nango"
    )
    await stack.deploy(handled_by(slow))
    await rules(stack, signature=None)
    for number in range(3):
        await take(stack, {"id": number, "title": "a"})
    await sweep(stack)
    temporal = stack.container.temporal
    dispatch = webhook_dispatch_workflow_id(stack.environment.name, connection.key)
    async with asyncio.timeout(20):
        while not await runs(stack, status=RunStatus.RUNNING):
            await asyncio.sleep(0.02)

    await temporal.get_workflow_handle(dispatch).terminate()
    await sweep(stack)
    await done(stack, 3)

    assert [run.status for run in await runs(stack)] == [RunStatus.SUCCESS] * 3
    assert {r["id"] for r in await stack.records(connection)} == {"0", "1", "2"}


async def test_run_that_is_ended_by_force_is_noted_and_holds_up_nobody(
    stack: Stack, connection: Connection
) -> None:
    stuck = """
import asyncio

async def on_webhook_payload_received(nango, payload):
    if payload["id"] == 1:
        await asyncio.sleep(3600)
    await nango.batch_save([{"id": str(payload["id"]), "title": "a"}], "Issue")
"""
    await stack.deploy(handled_by(stuck))
    await rules(stack, signature=None)
    for number in (1, 2):
        await take(stack, {"id": number})
    await sweep(stack)
    async with asyncio.timeout(20):
        while not (found := await runs(stack, status=RunStatus.RUNNING)):
            await asyncio.sleep(0.02)

    await stack.container.temporal.get_workflow_handle(found[0].workflow_id).terminate()
    first, second = await done(stack, 2)

    assert (first.status, second.status) == ("failed", "processed")
    assert [run.status for run in await runs(stack)] == [RunStatus.FAILED, RunStatus.SUCCESS]


async def test_webhooks_of_a_connection_are_handled_in_order_over_many_histories(
    stack: Stack, connection: Connection
) -> None:
    in_order = """
async def on_webhook_payload_received(nango, payload):
    before = (await nango.get_checkpoint() or {"seen": ""})["seen"]
    await nango.save_checkpoint({"seen": before + str(payload["id"])})
    await nango.batch_save([{"id": str(payload["id"]), "title": before}], "Issue")
"""
    await stack.deploy(handled_by(in_order))
    await rules(stack, signature=None)
    for number in range(8):
        await take(stack, {"id": number})
    temporal = stack.container.temporal
    dispatch = webhook_dispatch_workflow_id(stack.environment.name, connection.key)
    await temporal.start_workflow(
        WorkflowType.WEBHOOK_DISPATCH,
        WebhookDispatchInput(
            environment=stack.environment.name,
            integration="tracker",
            connection_id="acme",
            connection_key=connection.key,
            tasks_per_run=3,
        ),
        id=dispatch,
        task_queue=TaskQueue.ACTIONS,
    )
    await done(stack, 8)
    await temporal.get_workflow_handle(dispatch).result()

    titles = {r["id"]: r["title"] for r in await stack.records(connection)}
    assert titles == {str(number): "01234567"[:number] for number in range(8)}
    ended = {WorkflowExecutionStatus.CONTINUED_AS_NEW, WorkflowExecutionStatus.COMPLETED}

    # What is listed comes after what happens.
    async def listed() -> bool:
        found = temporal.list_workflows(f"WorkflowId = '{dispatch}'")
        statuses = [run.status async for run in found]
        return len(statuses) >= 3 and set(statuses) <= ended

    await eventually(listed)


async def test_large_webhook_stands_in_no_history(stack: Stack, connection: Connection) -> None:
    await stack.deploy(handled_by())
    await rules(stack, signature=None)
    await take(stack, {"id": 1, "title": "Confidential" * 300_000})
    await sweep(stack)
    (event,) = await done(stack)

    assert event.status == "processed"
    assert (await stack.records(connection))[0]["title"].startswith("Confidential")
    (task,) = await stack.container.database.webhook_events.tasks(event.id)
    workflow_id = webhook_workflow_id(stack.environment.name, task.id)
    history = await stack.container.temporal.get_workflow_handle(workflow_id).fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 100_000


async def test_payload_is_encrypted_in_the_database_and_in_histories(
    stack: Stack, connection: Connection
) -> None:
    await stack.deploy(handled_by("async def on_webhook_payload_received(nango, payload): pass"))
    await rules(stack, signature=None)
    await take(stack, {"id": 1, "token": "XOXB-VERY-SECRET"})
    await sweep(stack)
    (event,) = await done(stack)

    async with stack.container.database.pool.acquire() as conn:
        row = await conn.fetchrow("SELECT * FROM webhook_events WHERE id = $1", event.id)
    assert b"VERY-SECRET" not in repr(dict(row)).encode()
    (task,) = await stack.container.database.webhook_events.tasks(event.id)
    for workflow_id in (
        webhook_workflow_id(stack.environment.name, task.id),
        webhook_dispatch_workflow_id(stack.environment.name, connection.key),
    ):
        history = await stack.container.temporal.get_workflow_handle(workflow_id).fetch_history()
        assert not any(b"VERY-SECRET" in e.SerializeToString() for e in history.events)


async def test_connection_that_is_gone_is_no_failure(stack: Stack, connection: Connection) -> None:
    await stack.deploy(handled_by())
    await rules(stack, signature=None)
    await take(stack, {"id": 1, "title": "a"})
    await stack.container.database.connections.delete(stack.environment.id, "tracker", "acme")
    await sweep(stack)
    (event,) = await done(stack)

    (task,) = await stack.container.database.webhook_events.tasks(event.id)
    assert (event.status, task.status) == ("processed", TaskStatus.SKIPPED)


async def test_sync_that_subscribes_no_more_leaves_alone_what_came_before(
    stack: Stack, connection: Connection
) -> None:
    await stack.deploy(handled_by())
    await rules(stack, signature=None)
    await take(stack, {"id": 1, "title": "a"})
    await stack.deploy(handled_by("", subscriptions="[]"))

    await sweep(stack)
    (event,) = await done(stack)

    (task,) = await stack.container.database.webhook_events.tasks(event.id)
    assert task.status is TaskStatus.SKIPPED
    assert await runs(stack) == []


@pytest.fixture
async def waiting(env: Deploys, connection: Connection) -> Deploys:
    """A webhook that has saved a record, and saves another one when the metadata say `go`."""
    stack = env.stack
    handler = """
import asyncio

async def on_webhook_payload_received(nango, payload):
    await nango.batch_save([{"id": "1", "title": "a"}], "Issue")
    while not (await nango.get_metadata()).get("go"):
        await asyncio.sleep(0.2)
    await nango.batch_save([{"id": "2", "title": "a"}], "Issue")
"""
    await env.deploy(handled_by(handler))
    await rules(stack, signature=None)
    await take(stack, {"id": 1})
    await sweep(stack)
    await env.saved(connection)
    return env


async def test_deploy_that_removes_a_sync_ends_what_handles_its_webhooks(
    waiting: Deploys, connection: Connection
) -> None:
    await waiting.deploy(files())

    (event,) = await done(waiting.stack)
    assert event.status == "failed"
    (run,) = await runs(waiting.stack)
    assert run.status is RunStatus.CANCELLED
    assert await waiting.held(connection) == set()
    assert await waiting.syncs_of(connection) == set()


async def test_what_a_webhook_saves_after_its_model_was_erased_is_erased_at_its_end(
    waiting: Deploys, connection: Connection
) -> None:
    other = handled_by()
    other["nango.yaml"] = other["nango.yaml"].replace("Issue", "Ticket")
    await waiting.deploy(other)
    assert await waiting.held(connection) == set()
    await waiting.stack.go(connection)

    await done(waiting.stack)

    (run,) = await runs(waiting.stack)
    assert run.status is RunStatus.SUCCESS
    assert run.counts["Issue"]["added"] == 2, "the run did save"
    assert await waiting.held(connection) == set()


async def test_run_of_the_sync_does_not_wait_for_one_of_its_webhooks(
    stack: Stack, connection: Connection
) -> None:
    waiting = """
import asyncio

async def on_webhook_payload_received(nango, payload):
    await asyncio.sleep(5)
"""
    await stack.deploy(handled_by(waiting))
    await rules(stack, signature=None)
    await take(stack, {"id": 1})
    await sweep(stack)
    async with asyncio.timeout(20):
        while not await runs(stack, status=RunStatus.RUNNING):
            await asyncio.sleep(0.02)

    result = await stack.run_sync(connection)

    assert result.skipped is None


async def test_webhook_is_handed_on_to_the_application_with_its_headers(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection, receiver: Receiver
) -> None:
    database = stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await database.integrations.update(stack.environment.id, "tracker", forward_webhooks=True)
    await stack.deploy(handled_by())

    event_id = await sent(
        provider, stack, {"id": 1, "title": "a"}, x_webhook_event="made", cookie="a=b"
    )
    (received,) = await receiver.until(1)

    assert received.payload == {
        "from": "generic-api-key",
        "type": "forward",
        "connectionId": "acme",
        "providerConfigKey": "tracker",
        "payload": {"id": 1, "title": "a"},
    }
    assert received.headers["X-Webhook-Event"] == "made"
    assert "X-Nango-Hmac-Sha256" in received.headers
    assert not {"Cookie", "X-Hub-Signature-256"} & set(received.headers)
    (event,) = await done(stack)
    assert (str(event.id), event.forwarded) == (event_id, 1)


async def test_webhook_that_concerns_no_connection_is_handed_on_as_it_came(
    stack: Stack, provider: httpx.AsyncClient, connection: Connection, receiver: Receiver
) -> None:
    database = stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await database.integrations.update(stack.environment.id, "tracker", forward_webhooks=True)
    await rules(stack, connections={"otherwise": "none"})

    await sent(provider, stack, {"id": 1, "title": "a"})

    (received,) = await receiver.until(1)
    assert received.payload == {"id": 1, "title": "a"}


async def test_what_was_to_be_handed_on_when_everything_died_is_found(
    stack: Stack, connection: Connection, receiver: Receiver
) -> None:
    database = stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await database.integrations.update(stack.environment.id, "tracker", forward_webhooks=True)
    await rules(stack, signature=None)
    await take(stack, {"id": 1})

    await sweep(stack)
    await sweep(stack)

    await receiver.until(1)
    assert len(receiver.asked) == 1


@pytest.fixture
def receiver(source: Source) -> Receiver:
    return Receiver(source.server)
