"""Webhooks to the application, from the run that ends to the receiver that takes them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time
import uuid
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from werkzeug import Response

from activities.maintenance import Sweep
from perdure.db.connections import Connection
from perdure.db.webhook_deliveries import Delivery, DeliveryStatus, NewDelivery
from perdure.ids import delivery_workflow_id
from perdure.temporal.failures import describe_failure
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ConnectionInput
from tests.support.deploys import Deploys
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.secret_texts import SECRETS, URL_COLUMNS
from tests.support.source import Source
from tests.support.stack import Stack

FAILING = """
from perdure import ActionError

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "kept"}], "Issue")
    raise ActionError({"message": "the plan has ended", "plan": "free"})
"""


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    return Receiver(httpserver)


async def settings(stack: Stack, **changes: Any) -> None:
    await stack.container.database.webhook_settings.change(stack.environment.id, changes)


async def deliveries(stack: Stack) -> list[Delivery]:
    """All deliveries of the environment, oldest first."""
    found = await stack.container.database.deliveries.list(stack.environment.id)
    return list(reversed(found))


async def ended(stack: Stack, count: int = 1, seconds: float = 30) -> list[Delivery]:
    """Wait until so many deliveries are pending no more."""
    async with asyncio.timeout(seconds):
        while True:
            found = await deliveries(stack)
            if sum(one.status is not DeliveryStatus.PENDING for one in found) >= count:
                return found
            await asyncio.sleep(0.05)


async def tell_of(stack: Stack, connection: Connection, operation: str) -> None:
    """Set a connection up that was just made, or given other credentials."""
    column = {"creation": "set_up_version = 0", "override": "credentials_version = 2"}[operation]
    pool = stack.container.database.pool
    await pool.execute(f"UPDATE connections SET {column} WHERE id = $1", connection.key)
    await set_up(stack, connection, operation)


async def set_up(stack: Stack, connection: Connection, operation: str) -> None:
    await stack.container.temporal.execute_workflow(
        WorkflowType.CONNECTION_CREATE,
        ConnectionInput(
            environment=stack.environment.name,
            environment_id=stack.environment.id,
            integration=connection.integration,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            operation=operation,
        ),
        id=f"connection-create/{stack.environment.name}/{operation}",
        task_queue=TaskQueue.ACTIONS,
    )


async def test_successful_sync_is_told_signed_and_once(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    await handle.result()
    (received,) = await receiver.until(1)
    (delivery,) = await ended(stack)

    run = await stack.run(handle)
    started_at = f"{run.started_at:%Y-%m-%dT%H:%M:%S}.{run.started_at.microsecond // 1000:03}Z"
    assert received.payload == {
        "from": "nango",
        "type": "sync",
        "connectionId": "acme",
        "providerConfigKey": "tracker",
        "syncName": "issues",
        "syncVariant": "base",
        "model": "Issue",
        "syncType": "INITIAL",
        "success": True,
        "modifiedAfter": started_at,
        "queryTimeStamp": None,
        "responseResults": {"added": 250, "updated": 0, "deleted": 0},
    }
    key = await stack.container.database.webhook_settings.signing_key(stack.environment.id)
    headers = received.headers
    hmac_sha256 = hmac.new(key.encode(), received.body, hashlib.sha256).hexdigest()
    assert headers["X-Nango-Hmac-Sha256"] == hmac_sha256
    assert headers["X-Nango-Signature"] == hashlib.sha256(key.encode() + received.body).hexdigest()
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "nango"
    assert received.delivery == str(delivery.id)
    assert (delivery.status, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
    assert delivery.run_id == run.id
    assert len(receiver.asked) == 1


async def test_success_tells_where_the_script_will_go_on(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    script = """
    async def fetch_data(nango):
        await nango.batch_save([{"id": "1", "title": "x"}], "Issue")
        await nango.save_checkpoint({"page": 7})
    """
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project(script))

    await stack.run_sync(await stack.connect(source.url))

    (received,) = await receiver.until(1)
    assert received.payload["checkpoints"] == {"from": None, "to": {"page": 7}}


async def test_sync_that_changed_nothing_is_told_only_where_that_is_wanted(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await settings(stack, primary_url=receiver.url)

    await stack.run_sync(connection)
    assert await deliveries(stack) == []
    await settings(stack, on_sync_completion_always=True)
    await stack.run_sync(connection)

    (received,) = await receiver.until(1)
    assert received.payload["responseResults"] == {"added": 0, "updated": 0, "deleted": 0}


async def test_failed_sync_is_told_with_its_reason(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project(FAILING))

    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(await stack.connect(source.url))

    (received,) = await receiver.until(1)
    payload = received.payload
    assert (payload["success"], payload["model"]) == (False, "Issue")
    assert payload["error"]["type"] == "action_script_runtime_error"
    assert payload["error"]["payload"] == {"message": "the plan has ended", "plan": "free"}
    assert payload["startedAt"] <= payload["failedAt"]
    assert "responseResults" not in payload


async def test_failed_sync_is_not_told_where_that_is_switched_off(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url, on_sync_error=False)
    await stack.deploy(project(FAILING))

    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(await stack.connect(source.url))

    assert await deliveries(stack) == []


async def test_cancelled_sync_is_not_told(stack: Stack, source: Source, receiver: Receiver) -> None:
    await settings(stack, primary_url=receiver.url, on_sync_completion_always=True)
    await stack.deploy(project("async def fetch_data(nango):\n    await nango.get('/hang')\n"))
    asked, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(_: object) -> Response:
        loop.call_soon_threadsafe(asked.set)
        release.wait(20)
        return Response("{}")

    source.server.expect_request("/hang").respond_with_handler(hang)
    handle = await stack.start_sync(await stack.connect(source.url))
    await asyncio.wait_for(asked.wait(), 20)
    await handle.cancel()

    with pytest.raises(WorkflowFailureError):
        await handle.result()
    release.set()
    assert (await stack.run(handle)).status == "cancelled"
    assert await deliveries(stack) == []


async def test_both_urls_are_told_and_one_that_is_down_does_not_hold_up_the_other(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    other = Receiver(receiver.server, "/other")
    receiver.before = lambda number: Response("", 503) if number < 3 else None
    await settings(stack, primary_url=receiver.url, secondary_url=other.url)
    await stack.deploy(project())

    await stack.run_sync(await stack.connect(source.url))
    await other.until(1)
    assert receiver.taken == []
    await receiver.until(1)

    assert receiver.taken[0].payload == other.taken[0].payload
    assert receiver.taken[0].delivery != other.taken[0].delivery
    assert {one.delivery for one in receiver.asked} == {receiver.taken[0].delivery}
    primary, secondary = await ended(stack, 2)
    assert (primary.target, primary.attempts, primary.last_error) == ("primary", 3, None)
    assert (secondary.target, secondary.attempts) == ("secondary", 1)
    history = await stack.container.database.deliveries.attempts(primary.id)
    assert [(one.status, one.error) for one in history] == [
        (503, "the receiver answered 503"),
        (503, "the receiver answered 503"),
        (200, None),
    ]


async def test_url_of_the_connection_replaces_those_of_the_environment(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    own = Receiver(receiver.server, "/own")
    await settings(stack, primary_url=receiver.url, secondary_url=receiver.url)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.container.database.connections.update(
        stack.environment.id, "tracker", "acme", webhook_url_override=own.url
    )

    await stack.run_sync(connection)
    await own.until(1)

    assert [one.target for one in await ended(stack)] == ["override"]
    assert receiver.asked == []


async def test_receiver_that_asks_for_time_gets_it(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    moments: list[float] = []

    def misbehave(number: int) -> Response | None:
        moments.append(time.monotonic())
        return Response("", 429, {"Retry-After": "4"}) if number == 1 else None

    receiver.before = misbehave
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())

    await stack.run_sync(await stack.connect(source.url))
    await receiver.until(1)

    assert moments[1] - moments[0] >= 4


@pytest.mark.parametrize(
    "answer",
    [Response("", 404), Response("", 302, {"Location": "/hooks"})],
    ids=["client error", "redirect"],
)
async def test_lasting_refusal_ends_the_delivery_at_once(
    stack: Stack, source: Source, receiver: Receiver, answer: Response
) -> None:
    receiver.before = lambda _: answer
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())

    result = await stack.run_sync(await stack.connect(source.url))
    (delivery,) = await ended(stack)

    assert result.counts["Issue"]["added"] == 250, "the sync does not suffer"
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert delivery.last_status == answer.status_code
    assert len(receiver.asked) == 1
    workflow_id = delivery_workflow_id(stack.environment.name, str(delivery.id))
    handle = stack.container.temporal.get_workflow_handle(workflow_id)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert str(answer.status_code) in describe_failure(caught.value)["message"]


async def test_pending_delivery_goes_where_webhooks_go_now(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    moved = Receiver(receiver.server, "/moved")
    receiver.before = lambda _: Response("", 503)
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())

    await stack.run_sync(await stack.connect(source.url))
    await settings(stack, primary_url=moved.url)
    await moved.until(1)

    (delivery,) = await ended(stack)
    assert (delivery.status, delivery.url) == ("delivered", moved.url)


async def test_pending_delivery_ends_when_its_url_is_removed(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    receiver.before = lambda _: Response("", 503)
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())

    await stack.run_sync(await stack.connect(source.url))
    await settings(stack, primary_url=None)

    (delivery,) = await ended(stack)
    assert delivery.status == "failed"
    assert "was removed" in (delivery.last_error or "")


async def test_cancelled_delivery_is_noted_as_failed(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    receiver.before = lambda _: Response("", 503, {"Retry-After": "60"})
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())
    await stack.run_sync(await stack.connect(source.url))
    async with asyncio.timeout(20):
        while not receiver.asked:
            await asyncio.sleep(0.02)
    (delivery,) = await deliveries(stack)
    workflow_id = delivery_workflow_id(stack.environment.name, str(delivery.id))

    await stack.container.temporal.get_workflow_handle(workflow_id).cancel()

    (delivery,) = await ended(stack)
    assert delivery.status == "failed"


@pytest.mark.parametrize("operation", ["creation", "override"])
async def test_new_credentials_are_told(
    stack: Stack, source: Source, receiver: Receiver, operation: str
) -> None:
    await settings(stack, primary_url=receiver.url)
    connection = await stack.connect(source.url)

    await tell_of(stack, connection, operation)

    (received,) = await receiver.until(1)
    assert received.payload == {
        "from": "nango",
        "type": "auth",
        "operation": operation,
        "connectionId": "acme",
        "authMode": "API_KEY",
        "providerConfigKey": "tracker",
        "provider": "generic-api-key",
        "environment": stack.environment.name,
        "success": True,
    }
    assert b"key-of-acme" not in received.body


async def test_setup_that_is_asked_for_twice_is_told_once(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url)
    connection = await stack.connect(source.url)
    await tell_of(stack, connection, "creation")

    await set_up(stack, connection, "creation")

    assert len(await ended(stack)) == 1


async def test_new_credentials_are_not_told_where_that_is_switched_off(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url, on_auth_creation=False)
    connection = await stack.connect(source.url)

    await tell_of(stack, connection, "creation")

    assert await deliveries(stack) == []


async def test_history_shows_neither_url_nor_key(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    receiver.before = lambda number: Response("", 503) if number == 1 else None
    secret = SECRETS.shown("hush-hush-receiver", *URL_COLUMNS)
    receiver.server.expect_request("/x").respond_with_data("")
    await settings(stack, primary_url=f"{receiver.url}?token={secret}")
    await stack.deploy(project())
    await stack.run_sync(await stack.connect(source.url))
    (delivery,) = await ended(stack)
    key = await stack.container.database.webhook_settings.signing_key(stack.environment.id)

    workflow_id = delivery_workflow_id(stack.environment.name, str(delivery.id))
    handle = stack.container.temporal.get_workflow_handle(workflow_id)
    await handle.result()
    history = (await handle.fetch_history()).to_json()
    description = await handle.describe()

    assert description.status is WorkflowExecutionStatus.COMPLETED
    assert secret not in history
    assert key not in history
    assert await description.static_summary() == (
        "tracker / issues: Issue for acme: sync webhook to localhost"
    )


async def test_one_step_starts_the_deliveries_of_a_run_and_none_where_there_are_none(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    silent = await stack.start_sync(connection)
    await silent.result()
    await settings(stack, primary_url=receiver.url, on_sync_completion_always=True)
    telling = await stack.start_sync(connection)
    await telling.result()

    async def steps(handle: Any) -> list[str]:
        return [
            event.activity_task_scheduled_event_attributes.activity_type.name
            async for event in handle.fetch_history_events()
            if event.HasField("activity_task_scheduled_event_attributes")
        ]

    assert "start_deliveries" not in await steps(silent)
    assert (await steps(telling)).count("start_deliveries") == 1


async def test_webhook_of_a_run_that_was_ended_by_force_is_started_by_the_maintenance(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url)
    database = stack.container.database
    connection = await stack.connect(source.url)
    new = NewDelivery(
        type="sync",
        subject="issues: Issue",
        integration="tracker",
        connection_id="acme",
        connection_key=connection.key,
        target="primary",
        url=receiver.url,
        body=b"{}",
    )
    async with database.transaction() as conn:
        step = uuid.uuid4().hex
        old, young = await database.deliveries.add(
            stack.environment.id, step, [new, new], conn=conn
        )
    await database.pool.execute(
        "UPDATE webhook_deliveries SET created_at = now() - interval '1 hour' WHERE id = $1", old
    )

    await stack.container.temporal.execute_workflow(
        WorkflowType.MAINTENANCE,
        Sweep(),
        id=f"maintenance/{stack.environment.name}",
        task_queue=TaskQueue.ACTIONS,
    )

    (received,) = await receiver.until(1)
    assert received.delivery == str(old)
    (pending,) = (one for one in await deliveries(stack) if one.status == "pending")
    assert pending.id == young, "its run is about to start it"
    await database.deliveries.give_up(young, "the test is over")


async def test_end_of_an_asynchronous_action_is_told_and_its_result_there(
    env: Deploys, source: Source, receiver: Receiver
) -> None:
    stack = env.stack
    await settings(stack, primary_url=receiver.url)
    await stack.deploy(project())
    await stack.connect(source.url)
    named = {"connection-id": "acme", "provider-config-key": "tracker", "x-async": "true"}
    body = {"action_name": "echo", "input": {"text": "told"}}

    started = (await env.client.post("/action/trigger", json=body, headers=named)).json()
    (received,) = await receiver.until(1)
    result = await env.client.get(received.payload["payload"]["statusUrl"])

    assert received.payload == {
        "from": "nango",
        "type": "async_action",
        "connectionId": "acme",
        "providerConfigKey": "tracker",
        "payload": started,
    }
    assert (result.status_code, result.json()) == (200, {"text": "told"})


async def test_end_of_an_action_is_not_told_where_nobody_wants_to_hear_of_it(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url, on_async_action_completion=False)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await (await stack.start_action(connection, {"text": "x"}, queued=True)).result()
    assert await deliveries(stack) == []


async def test_workflow_of_an_earlier_time_does_not_give_up_what_is_sent_again(
    stack: Stack, source: Source, receiver: Receiver
) -> None:
    await settings(stack, primary_url=receiver.url)
    connection = await stack.connect(source.url)
    store = stack.container.database.deliveries
    await tell_of(stack, connection, "creation")
    (delivery,) = await ended(stack)
    await store.reopen(stack.environment.id, delivery.id)

    await store.give_up(delivery.id, "too late", opening=delivery.opening)

    (still,) = await deliveries(stack)
    assert (still.status, still.opening) == (DeliveryStatus.PENDING, delivery.opening + 1)
    await store.give_up(delivery.id, "the test is over", opening=still.opening)
    assert [one.status for one in await deliveries(stack)] == [DeliveryStatus.FAILED]
