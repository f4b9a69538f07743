"""Syncs, records and actions, through Nango's own client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from perdure.db.connections import Connection
from tests.contract.conftest import ClientError, NodeClient
from tests.support.receiver import Receiver
from tests.support.stack import Stack


@pytest.fixture
async def synced(nango: NodeClient, stack: Stack, connection: Connection) -> NodeClient:
    """The sync `issues` has run once for `acme`."""
    await stack.run_sync(connection)
    return nango


async def settled(nango: NodeClient, status: str) -> dict[str, Any]:
    """Wait until the sync `issues` has a status."""
    async with asyncio.timeout(60):
        while True:
            (sync,) = (await nango.call("syncStatus", "tracker", "*", "acme"))["syncs"]
            if sync["status"] == status:
                return dict(sync)
            await asyncio.sleep(0.1)


def target(**more: Any) -> dict[str, Any]:
    return {"providerConfigKey": "tracker", "connectionId": "acme", "model": "Issue"} | more


async def test_records_are_read_page_by_page(synced: NodeClient) -> None:
    first = await synced.call("listRecords", target(limit=200))
    second = await synced.call("listRecords", target(limit=200, cursor=first["next_cursor"]))

    assert len(first["records"]) == 200
    assert len(second["records"]) == 50
    assert second["next_cursor"] is None
    assert set(first["records"][0]["_nango_metadata"]) == {
        "first_seen_at",
        "last_modified_at",
        "last_action",
        "deleted_at",
        "pruned_at",
        "cursor",
    }


async def test_records_are_filtered(synced: NodeClient) -> None:
    some = await synced.call("listRecords", target(ids=["3", "7"]))
    added = await synced.call("listRecords", target(filter="added", limit=1))
    deleted = await synced.call("listRecords", target(filter="deleted"))
    later = await synced.call("listRecords", target(modifiedAfter="2020-01-01T00:00:00.000Z"))

    assert sorted(record["id"] for record in some["records"]) == ["3", "7"]
    assert added["records"][0]["_nango_metadata"]["last_action"] == "ADDED"
    assert deleted["records"] == []
    assert len(later["records"]) == 100


async def test_records_are_pruned(synced: NodeClient) -> None:
    page = await synced.call("listRecords", target(limit=10))
    until = page["records"][-1]["_nango_metadata"]["cursor"]

    pruned = await synced.call("pruneRecords", target(untilCursor=until))

    assert pruned == {"count": 10, "has_more": False}


@pytest.mark.usefixtures("connection")
async def test_sync_is_started_triggered_and_paused(nango: NodeClient) -> None:
    await nango.call("startSync", "tracker", ["issues"], "acme")
    triggered = await nango.call("triggerSync", "tracker", ["issues"], "acme", {"reset": True})
    done = await settled(nango, "SUCCESS")
    paused = await nango.call("pauseSync", "tracker", ["issues"], "acme")

    assert triggered["data"] == {"success": True}
    assert paused["data"] == {"success": True}
    assert done["recordCount"] == {"Issue": 250}
    assert (await settled(nango, "PAUSED"))["name"] == "issues"


async def test_frequency_of_a_sync_is_changed_and_reverted(synced: NodeClient) -> None:
    changed = await synced.call(
        "updateSyncConnectionFrequency", "tracker", "issues", "acme", "every 6 hours"
    )
    reverted = await synced.call("updateSyncConnectionFrequency", "tracker", "issues", "acme", None)

    assert changed == {"frequency": "every 6 hours"}
    assert set(reverted) == {"frequency"}


async def test_variant_is_made_and_deleted(synced: NodeClient) -> None:
    variant = {
        "provider_config_key": "tracker",
        "connection_id": "acme",
        "name": "issues",
        "variant": "closed",
    }

    made = await synced.call("createSyncVariant", variant)
    deleted = await synced.call("deleteSyncVariant", variant)

    assert (made["name"], made["variant"]) == ("issues", "closed")
    assert deleted == {"success": True}


@pytest.mark.usefixtures("connection")
async def test_action_is_run(nango: NodeClient) -> None:
    value = {"text": "hello"}

    assert await nango.call("triggerAction", "tracker", "acme", "echo", value) == value


@pytest.mark.usefixtures("connection")
async def test_unknown_action_is_not_found(nango: NodeClient) -> None:
    with pytest.raises(ClientError) as caught:
        await nango.call("triggerAction", "tracker", "acme", "nothing", {})
    assert (caught.value.status, caught.value.code) == (404, "not_found")


@pytest.mark.usefixtures("connection")
async def test_result_of_an_asynchronous_action_is_fetched(nango: NodeClient) -> None:
    started = await nango.call("triggerActionAsync", "tracker", "acme", "echo", {"text": "later"})

    assert started["statusUrl"] == f"/action/{started['id']}"
    async with asyncio.timeout(60):
        while True:
            try:
                result = await nango.call("getAsyncActionResult", {"id": started["id"]})
                break
            except ClientError as error:
                assert error.status == 404  # noqa: PT017 - it is pending
                await asyncio.sleep(0.05)
    assert result == {"text": "later"}


@pytest.mark.usefixtures("connection")
async def test_client_verifies_a_webhook_that_was_delivered(
    nango: NodeClient, stack: Stack, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    changes = {"primary_url": receiver.url}
    await stack.container.database.webhook_settings.change(stack.environment.id, changes)
    await nango.call("triggerSync", "tracker", ["issues"], "acme")
    received, *_ = await receiver.until(1)
    body = received.body.decode()

    headers = {name.lower(): value for name, value in received.headers.items()}
    assert await nango.call("verifyIncomingWebhookRequest", body, headers)
    assert not await nango.call("verifyIncomingWebhookRequest", body + " ", headers)
    assert await nango.call(
        "verifyWebhookSignature", headers["x-nango-signature"], received.payload
    )
