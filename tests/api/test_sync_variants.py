"""Variants of syncs over REST."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.calls import connect, deploy, error_of
from tests.api.test_sync_lifecycle import Held, connection_key, ended, runs, titles
from tests.api.test_syncs import command, status
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

SAVES_ITS_VARIANT = """
async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": nango.variant}], "Issue")
"""


async def variant(
    client: httpx.AsyncClient, method: str, name: str = "eu", sync: str = "issues", **body: Any
) -> httpx.Response:
    target = {"provider_config_key": "tracker", "connection_id": "acme"}
    return await client.request(method, f"/sync/{sync}/variant/{name}", json=target | body)


async def test_variant_has_schedule_records_and_dates_of_its_own(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    await deploy(live, project(SAVES_ITS_VARIANT, auto_start=True))
    await connect(live, source.url)
    await ended(live, 1)

    made = await variant(live, "POST")

    assert made.status_code == 200, made.text
    assert made.json() | {"id": ""} == {"id": "", "name": "issues", "variant": "eu"}
    await ended(live, 2)
    assert await titles(live) == {"1": "base"}
    assert await titles(live, variant="eu") == {"1": "eu"}
    both = {sync["variant"]: sync for sync in await status(live)}
    assert both["eu"]["id"] == made.json()["id"]
    assert both["eu"]["nextScheduledSyncAt"] is not None
    assert both["eu"]["recordCount"] == {"Issue": 1}


async def test_variant_of_a_sync_without_auto_start_waits_to_be_started(
    connected: httpx.AsyncClient,
) -> None:
    await variant(connected, "POST")

    (found,) = await status(connected, syncs="issues::eu")

    assert found["status"] == "PAUSED"


async def test_deleted_variant_leaves_nothing(
    connected: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    await command(connected, "trigger")
    await ended(connected, 1)
    await variant(connected, "POST")
    held = Held(source, 2)
    await command(connected, "trigger", syncs=["issues::eu"])
    await held.asked()

    assert (await variant(connected, "DELETE")).json() == {"success": True}
    held.go_on()

    assert [run["status"] for run in await ended(connected, 2)] == ["success", "cancelled"]
    assert await titles(connected, variant="eu") == {}
    assert len(await titles(connected)) == 250
    assert [sync["variant"] for sync in await status(connected)] == ["base"]
    assert error_of(await variant(connected, "DELETE")) == (404, "not_found")


async def test_deploys_keep_variants_in_line_and_remove_them_with_their_sync(
    connected: httpx.AsyncClient, source: Source
) -> None:
    await variant(connected, "POST")
    often = project()
    often["nango.yaml"] = often["nango.yaml"].replace("every day", "every hour")
    await deploy(connected, often)
    assert [sync["frequency"] for sync in await status(connected)] == ["every hour"] * 2

    without = dict(often)
    without["nango.yaml"] = without["nango.yaml"].replace("issues:", "tickets:", 1)
    without["tracker/syncs/tickets.py"] = without.pop("tracker/syncs/issues.py")
    body = {"files": without, "allow_destructive": True}
    assert (await connected.post("/deployments", json=body)).status_code == 200

    assert [(s["name"], s["variant"]) for s in await status(connected)] == [("tickets", "base")]


async def test_variants_go_with_their_connection(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    await variant(connected, "POST")
    key = await connection_key(connected)
    connection = await stack.container.database.connections.by_key(key)
    sync = stack.sync_input(connection).model_copy(update={"variant": "eu"})
    assert await stack.container.schedules.status(sync) is not None

    gone = {"provider_config_key": "tracker"}
    assert (await connected.delete("/connections/acme", params=gone)).status_code == 200

    assert await stack.container.schedules.status(sync) is None


async def test_run_of_a_variant_that_is_gone_does_not_bring_it_back(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    await variant(connected, "POST")
    key = await connection_key(connected)
    await stack.container.database.syncs.delete(key, "issues", "eu")
    connection = await stack.container.database.connections.by_key(key)
    sync = stack.sync_input(connection).model_copy(update={"variant": "eu"})

    await stack.container.schedules.trigger(sync)

    async def forgotten() -> None:
        while await stack.container.schedules.status(sync) is not None:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(forgotten(), 20)
    assert await runs(connected) == []
    assert [found["variant"] for found in await status(connected)] == ["base"]


SAVES_A_CHECKPOINT = """
async def fetch_data(nango):
    found = await nango.get_checkpoint()
    await nango.batch_save([{"id": "1", "title": str(found)}], "Issue")
    await nango.save_checkpoint({"page": 2})
"""


async def test_variant_has_a_checkpoint_of_its_own_which_goes_with_it(
    live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project(SAVES_A_CHECKPOINT))
    await connect(live, source.url)
    await variant(live, "POST")
    await command(live, "trigger", syncs=["issues::eu"])
    await ended(live, 1)

    found = {sync["variant"]: sync["checkpoint"] for sync in await status(live)}
    assert found == {"base": None, "eu": {"page": 2}}

    await variant(live, "DELETE")
    await variant(live, "POST")
    await command(live, "trigger", syncs=["issues::eu"])
    await ended(live, 2)
    assert await titles(live, variant="eu") == {"1": "None"}

    await command(live, "trigger", syncs=["issues::eu"])
    await ended(live, 3)
    assert await titles(live, variant="eu") == {"1": "{'page': 2}"}
    await command(live, "trigger", syncs=["issues::eu"], opts={"reset": True})
    await ended(live, 4)
    assert await titles(live, variant="eu") == {"1": "None"}


@pytest.mark.parametrize("name", ["base", "Base", "a.b", "~base"])
async def test_name_that_cannot_be_a_variants_is_refused(
    connected: httpx.AsyncClient, name: str
) -> None:
    assert error_of(await variant(connected, "POST", name)) == (400, "invalid_variant")
    assert error_of(await variant(connected, "DELETE", name)) == (400, "invalid_variant")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_variant_of_what_does_not_exist_is_refused(
    connected: httpx.AsyncClient, method: str
) -> None:
    async def refused(**target: Any) -> tuple[int, str]:
        return error_of(await variant(connected, method, **target))

    assert await refused(sync="nothing") == (400, "unknown_sync")
    assert await refused(connection_id="nobody") == (400, "unknown_connection")
    assert await refused(provider_config_key="crm") == (400, "unknown_provider_config")


async def test_variant_is_made_once(connected: httpx.AsyncClient) -> None:
    assert (await variant(connected, "POST")).status_code == 200

    assert error_of(await variant(connected, "POST")) == (400, "sync_variant_already_exists")


async def test_sync_has_at_most_a_hundred_variants(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    key = await connection_key(connected)
    for number in range(99):
        await stack.container.database.syncs.create_variant(key, "issues", f"v{number}", most=100)

    answers = await asyncio.gather(*(variant(connected, "POST", f"w{n}") for n in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    codes = {error_of(answer)[1] for answer in answers if answer.status_code == 400}
    assert codes == {"resource_capped"}


async def test_variant_is_not_made_without_temporal(
    offline: httpx.AsyncClient, environment: Stack
) -> None:
    await environment.deploy(project())
    connection = await environment.connect("http://127.0.0.1:1")

    answer = await variant(offline, "POST")

    assert error_of(answer) == (503, "temporal_unavailable")
    syncs = environment.container.database.syncs
    assert [row.variant for row in await syncs.of_connections([connection.key])] == ["base"]
