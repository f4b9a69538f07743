"""Syncs over REST."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from activities.sync_schedules import ScheduleStatus, SyncSchedules
from api import sync_statuses
from perdure.ids import ConnectionKey
from tests.api.calls import connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


async def command(client: httpx.AsyncClient, verb: str, **body: Any) -> httpx.Response:
    target = {"provider_config_key": "tracker", "connection_id": "acme", "syncs": ["issues"]}
    return await client.post(f"/sync/{verb}", json=target | body)


async def status(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    asked = {"provider_config_key": "tracker", "syncs": "*"} | query
    answer = await client.get("/sync/status", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["syncs"]


async def until(
    condition: Callable[[dict[str, Any]], bool], client: httpx.AsyncClient
) -> dict[str, Any]:
    """The status of the one sync, as soon as it meets the condition."""

    async def poll() -> dict[str, Any]:
        while True:
            (found,) = await status(client)
            if condition(found):
                return found
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(poll(), 30)


def stands(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["status"] == state


async def test_sync_that_never_ran_is_paused_without_auto_start(
    connected: httpx.AsyncClient,
) -> None:
    (found,) = await status(connected)

    assert found.pop("id")
    assert found == {
        "type": "INITIAL",
        "name": "issues",
        "variant": "base",
        "connection_id": "acme",
        "status": "PAUSED",
        "finishedAt": None,
        "nextScheduledSyncAt": None,
        "frequency": "every day",
        "latestResult": {},
        "latestExecutionStatus": None,
        "recordCount": {"Issue": 0},
        "heldDeletes": [],
        "checkpoint": None,
        "progress": None,
        "waiting": None,
    }


async def test_trigger_runs_a_paused_sync_and_status_tells_what_came_of_it(
    connected: httpx.AsyncClient,
) -> None:
    assert (await command(connected, "trigger")).json() == {"success": True}

    found = await until(lambda sync: sync["latestExecutionStatus"] == "SUCCESS", connected)

    assert found["latestResult"] == {"Issue": {"added": 250, "updated": 0, "deleted": 0}}
    assert found["recordCount"] == {"Issue": 250}
    assert found["type"] == "INCREMENTAL"
    assert found["finishedAt"] is not None
    assert found["status"] == "PAUSED"


async def test_start_runs_a_paused_sync_and_pause_cancels_its_run(
    connected: httpx.AsyncClient, source: Source
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(page: int) -> None:
        if page == 2:
            asked.set()
            go_on.wait(20)

    source.before = hold
    try:
        assert (await command(connected, "start")).json() == {"success": True}
        assert await asyncio.to_thread(asked.wait, 20)
        running = await until(lambda sync: sync["nextScheduledSyncAt"] is not None, connected)
        assert running["status"] == "RUNNING"
        assert (await command(connected, "pause")).json() == {"success": True}
        paused = await until(stands("PAUSED"), connected)
    finally:
        go_on.set()

    assert paused["latestExecutionStatus"] == "STOPPED"
    assert paused["nextScheduledSyncAt"] is None
    (run,) = (await connected.get("/runs")).json()["runs"]
    assert run["status"] == "cancelled"


async def test_failed_run_is_an_error_until_the_next_success(
    live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project("async def fetch_data(nango):\n    raise ValueError('no')\n"))
    await connect(live, source.url)
    await command(live, "start")

    failed = await until(stands("ERROR"), live)
    assert failed["type"] == "INITIAL"

    await deploy(live, project())
    await command(live, "trigger")
    assert (await until(stands("SUCCESS"), live))["recordCount"] == {"Issue": 250}


async def test_without_connection_all_connections_are_meant(
    connected: httpx.AsyncClient, source: Source
) -> None:
    await connect(connected, source.url, "globex")

    answer = await command(connected, "trigger", connection_id=None, syncs=["*"])

    assert answer.json() == {"success": True}
    assert {sync["connection_id"] for sync in await status(connected)} == {"acme", "globex"}
    (only,) = await status(connected, connection_id="globex", syncs="issues")
    assert only["connection_id"] == "globex"

    async def both_have_run() -> None:
        while any(sync["recordCount"] != {"Issue": 250} for sync in await status(connected)):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(both_have_run(), 30)


async def test_variant_is_a_sync_of_its_own(connected: httpx.AsyncClient, stack: Stack) -> None:
    (connection,) = (await connected.get("/connections")).json()["connections"]
    await stack.container.database.syncs.ensure(ConnectionKey(connection["id"]), "issues", "eu")

    (found,) = await status(connected, syncs="issues::eu")

    assert (found["variant"], found["status"]) == ("eu", "STOPPED")
    assert len(await status(connected)) == 2
    for named in ("issues::eu", {"name": "issues", "variant": "eu"}):
        answer = await command(connected, "trigger", syncs=[named])
        assert error_of(answer) == (409, "sync_not_scheduled")
    unknown = await command(connected, "trigger", syncs=["issues::us"])
    assert error_of(unknown) == (400, "unknown_sync")


@pytest.mark.parametrize("verb", ["trigger", "start", "pause"])
async def test_what_does_not_exist_has_nangos_codes(
    connected: httpx.AsyncClient, verb: str
) -> None:
    async def refused(**body: Any) -> tuple[int, str]:
        return error_of(await command(connected, verb, **body))

    assert await refused(syncs=["nothing"]) == (400, "unknown_sync")
    assert await refused(connection_id="nobody") == (404, "unknown_connection")
    assert await refused(provider_config_key="crm") == (400, "unknown_provider_config")
    assert await refused(provider_config_key=None) == (400, "missing_provider_config_key")


async def test_nothing_deployed_means_no_syncs(live: httpx.AsyncClient, source: Source) -> None:
    await connect(live, source.url)

    assert error_of(await command(live, "trigger", syncs=[])) == (400, "no_syncs_found")
    assert await status(live) == []


async def test_many_syncs_stand_together_as_each_of_them_does_alone(
    connected: httpx.AsyncClient, source: Source
) -> None:
    names = ["acme", *(f"acme-{number}" for number in range(1, 10))]
    await asyncio.gather(*(connect(connected, source.url, name) for name in names[1:]))
    started = names[:3]
    for name in started:
        await command(connected, "start", connection_id=name)
    for name in started:
        async with asyncio.timeout(30):
            while (await status(connected, connection_id=name))[0]["status"] != "SUCCESS":
                await asyncio.sleep(0.05)
    await command(connected, "pause", connection_id="acme-1")

    alone = {name: (await status(connected, connection_id=name))[0] for name in names}
    together = {found["connection_id"]: found for found in await status(connected)}

    assert together == alone
    states = {name: found["status"] for name, found in together.items()}
    waiting = dict.fromkeys(names, "PAUSED")
    assert states == {**waiting, "acme": "SUCCESS", "acme-2": "SUCCESS"}
    assert together["acme"]["recordCount"] == {"Issue": len(source.records)}
    assert together["acme"]["nextScheduledSyncAt"]


async def test_connection_is_not_told_of_by_going_through_those_of_all_others(
    connected: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_statuses, "_FEW", 0)
    lists: list[str] = []

    async def listed(_: SyncSchedules, *of: str) -> dict[str, ScheduleStatus]:
        lists.extend(of)
        return {}

    monkeypatch.setattr(SyncSchedules, "listed", listed)

    (found,) = await status(connected, connection_id="acme")

    assert (found["name"], lists) == ("issues", [])


async def test_target_may_stand_in_the_headers(connected: httpx.AsyncClient) -> None:
    answer = await connected.post(
        "/sync/pause",
        json={"syncs": []},
        headers={"provider-config-key": "tracker", "connection-id": "acme"},
    )
    assert answer.json() == {"success": True}


@pytest.mark.parametrize(
    ("extra", "accepted"),
    [
        ({"sync_mode": "incremental"}, True),
        ({"opts": {"reset": False}}, True),
        ({"something": "newer"}, True),
        ({"sync_mode": "sometimes"}, False),
        ({"opts": {"reset": True}, "sync_mode": "full_refresh"}, False),
        ({"opts": {}, "full_resync": False}, False),
    ],
)
async def test_trigger_is_told_in_one_way_how_to_start(
    connected: httpx.AsyncClient, extra: dict[str, Any], accepted: bool
) -> None:
    answer = await command(connected, "trigger", **extra)
    if accepted:
        assert answer.json() == {"success": True}
    else:
        assert error_of(answer) == (400, "invalid_body")


async def test_syncs_need_temporal(offline: httpx.AsyncClient, environment: Stack) -> None:
    await environment.deploy(project())
    connection = await environment.connect("http://127.0.0.1:1")
    await environment.container.database.syncs.ensure(connection.key, "issues")

    for verb in ("trigger", "start", "pause"):
        answer = await command(offline, verb)
        assert error_of(answer) == (503, "temporal_unavailable")
    answer = await offline.get("/sync/status?provider_config_key=tracker&syncs=*")
    assert error_of(answer) == (503, "temporal_unavailable")
