"""Syncs that start over, run more often, and stop."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest
from werkzeug import Response

from activities.sync_schedules import ScheduleStatus, SyncSchedules, schedule_id, sync_input
from perdure.db.records import RecordSet
from perdure.ids import ConnectionKey
from perdure.records.prepare import prepare_batch
from perdure.temporal.payloads import SyncInput
from tests.api.calls import connect, deploy, error_of
from tests.api.test_syncs import command, stands, status, until
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

# Of an incremental sync that saves whether it went on from where it stood.
TELLS = """
async def fetch_data(nango):
    since = "start" if nango.last_sync_date is None else "later"
    await nango.batch_save([{"id": "1", "title": since}], "Issue")
"""

FAILS_HALF_WAY = """
from perdure import NangoSync
from models import Issue


async def fetch_data(nango: NangoSync) -> None:
    number = 0
    async for page in nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    ):
        number += 1
        if number == 2:
            raise ValueError("half-way")
        await nango.batch_save([Issue(id=i["id"], title=i["title"]) for i in page], "Issue")
"""


async def titles(client: httpx.AsyncClient, **query: Any) -> dict[str, str]:
    """Titles by id of the records that are there."""
    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    asked = {"model": "Issue", "limit": 10_000} | query
    answer = await client.get("/records", params=asked, headers=named)
    assert answer.status_code == 200, answer.text
    return {
        record["id"]: record["title"]
        for record in answer.json()["records"]
        if record["_nango_metadata"]["deleted_at"] is None
    }


async def runs(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Runs of syncs, the oldest first."""
    answer = await client.get("/runs", params={"kind": "sync"})
    return answer.json()["runs"][::-1]


async def ended(client: httpx.AsyncClient, number: int) -> list[dict[str, Any]]:
    """Runs of syncs, as soon as so many have ended."""

    async def poll() -> list[dict[str, Any]]:
        while True:
            found = await runs(client)
            if len(found) >= number and all(run["status"] != "running" for run in found):
                return found
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(poll(), 40)


async def connection_key(client: httpx.AsyncClient) -> ConnectionKey:
    (connection,) = (await client.get("/connections")).json()["connections"]
    return ConnectionKey(connection["id"])


class Held:
    """A source that answers a page only when it is told to."""

    def __init__(self, source: Source, page: int) -> None:
        self._asked, self._go_on = threading.Event(), threading.Event()
        self._page = page
        source.before = self._hold

    def _hold(self, page: int) -> None:
        if page == self._page:
            self._asked.set()
            self._go_on.wait(30)

    async def asked(self) -> None:
        assert await asyncio.to_thread(self._asked.wait, 30)

    def go_on(self) -> None:
        self._go_on.set()


@pytest.mark.parametrize(
    ("extra", "since"),
    [
        ({}, "later"),
        ({"opts": {"reset": False}}, "later"),
        ({"opts": {"reset": True}}, "start"),
        ({"sync_mode": "full_refresh"}, "start"),
        ({"full_resync": True}, "start"),
        ({"opts": {"emptyCache": True}}, "start"),
        ({"sync_mode": "full_refresh_and_clear_cache"}, "start"),
    ],
)
async def test_trigger_starts_over_or_goes_on(
    live: httpx.AsyncClient, source: Source, extra: dict[str, Any], since: str
) -> None:
    files = project(TELLS)
    files["nango.yaml"] = files["nango.yaml"].replace("sync_type: full", "sync_type: incremental")
    await deploy(live, files)
    await connect(live, source.url)
    await command(live, "trigger")
    await ended(live, 1)

    assert (await command(live, "trigger", **extra)).json() == {"success": True}

    assert [run["status"] for run in await ended(live, 2)] == ["success", "success"]
    assert await titles(live) == {"1": since}


async def test_reset_ends_the_run_under_way_and_those_that_wait(
    connected: httpx.AsyncClient, source: Source
) -> None:
    held = Held(source, 2)
    await command(connected, "trigger")
    await held.asked()
    await command(connected, "trigger")
    source.before = lambda _: None

    assert (await command(connected, "trigger", opts={"reset": True})).status_code == 200
    held.go_on()

    await until(lambda sync: sync["latestExecutionStatus"] == "SUCCESS", connected)
    *before, last = await runs(connected)
    assert {run["status"] for run in before} == {"cancelled"}
    assert last["status"] == "success"
    assert len(await titles(connected)) == 250


async def test_emptied_cache_shows_the_old_records_until_the_new_ones_are_whole(
    connected: httpx.AsyncClient, source: Source
) -> None:
    await command(connected, "trigger")
    await ended(connected, 1)
    before = await titles(connected)
    source.records = [{"id": str(n), "title": f"new {n}"} for n in range(101, 351)]
    held = Held(source, 3)

    await command(connected, "trigger", opts={"reset": True, "emptyCache": True})
    await held.asked()
    assert await titles(connected) == before
    held.go_on()
    found = await ended(connected, 2)

    assert found[-1]["status"] == "success"
    assert found[-1]["counts"]["Issue"]["deleted"] == 100
    assert await titles(connected) == {str(n): f"new {n}" for n in range(101, 351)}
    (sync,) = await status(connected)
    assert sync["recordCount"] == {"Issue": 250}


async def test_rebuild_that_fails_half_way_leaves_readers_everything(
    live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project())
    await connect(live, source.url)
    await command(live, "trigger")
    await ended(live, 1)
    before = await titles(live)
    source.records = [{"id": str(n), "title": "new"} for n in range(300)]
    await deploy(live, project(FAILS_HALF_WAY))

    await command(live, "trigger", opts={"emptyCache": True})
    failed = (await ended(live, 2))[-1]
    assert failed["status"] == "failed"
    assert await titles(live) == before

    await deploy(live, project())
    await command(live, "trigger", opts={"emptyCache": True})
    await ended(live, 3)
    assert await titles(live) == {str(n): "new" for n in range(300)}


async def test_rebuild_that_failed_half_way_can_be_retried(
    live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project())
    await connect(live, source.url)
    await command(live, "trigger")
    await ended(live, 1)
    source.records = [{"id": str(n), "title": "new"} for n in range(300)]
    await deploy(live, project(FAILS_HALF_WAY))
    await command(live, "trigger", opts={"emptyCache": True})
    failed = (await ended(live, 2))[-1]
    await deploy(live, project(FAILS_HALF_WAY.replace('raise ValueError("half-way")', "pass")))

    answer = await live.post(f"/runs/{failed['id']}/retry", json={"bundle": "active"})
    assert answer.status_code == 200, answer.text

    found = await ended(live, 2)
    assert [run["status"] for run in found] == ["success", "success"]
    assert found[-1]["id"] == failed["id"]
    assert found[-1]["temporal_url"] != failed["temporal_url"]
    assert await titles(live) == {str(n): "new" for n in range(300)}


async def test_what_others_write_during_a_rebuild_stays(
    connected: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    await command(connected, "trigger")
    await ended(connected, 1)
    held = Held(source, 3)
    await command(connected, "trigger", opts={"emptyCache": True})
    await held.asked()
    pushed = prepare_batch([{"id": "1", "title": "pushed"}, {"id": "new", "title": "pushed"}])
    target = RecordSet(await connection_key(connected), "Issue")
    await stack.container.database.records.save(target, pushed)
    held.go_on()
    await ended(connected, 2)

    found = await titles(connected)
    assert (found["1"], found["new"], len(found)) == ("pushed", "pushed", 251)


async def test_records_that_are_built_cannot_be_read(connected: httpx.AsyncClient) -> None:
    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    asked = {"model": "Issue", "variant": "~base"}
    answer = await connected.get("/records", params=asked, headers=named)

    assert error_of(answer) == (400, "invalid_query_params")


async def test_reset_of_what_has_no_schedule_is_refused(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    await stack.container.database.syncs.ensure(await connection_key(connected), "issues", "eu")

    answer = await command(connected, "trigger", syncs=["issues::eu"], opts={"reset": True})

    assert error_of(answer) == (409, "sync_not_scheduled")


async def test_pause_ends_the_run_under_way_and_the_one_that_waits(
    connected: httpx.AsyncClient, source: Source
) -> None:
    held = Held(source, 2)
    await command(connected, "start")
    await held.asked()
    await command(connected, "trigger")

    assert (await command(connected, "pause")).json() == {"success": True}
    held.go_on()

    await until(stands("PAUSED"), connected)
    assert {run["status"] for run in await ended(connected, 1)} == {"cancelled"}


async def test_pause_ends_a_run_that_the_schedule_has_lost_sight_of(
    connected: httpx.AsyncClient, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(source, 2)
    await command(connected, "start")
    await held.asked()
    status_of = SyncSchedules.status

    async def blind(schedules: SyncSchedules, sync: SyncInput) -> ScheduleStatus | None:
        found = await status_of(schedules, sync)
        return found and replace(found, running=())

    monkeypatch.setattr(SyncSchedules, "status", blind)
    assert (await command(connected, "pause")).json() == {"success": True}
    held.go_on()

    assert [run["status"] for run in await ended(connected, 1)] == ["cancelled"]


async def test_started_sync_runs_at_once_only_where_a_run_is_due(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    await command(connected, "start")
    await ended(connected, 1)
    await command(connected, "pause")
    await command(connected, "start")
    found = await until(stands("SUCCESS"), connected)
    assert found["nextScheduledSyncAt"] is not None
    assert len(await runs(connected)) == 1

    await command(connected, "pause")
    (run,) = await runs(connected)
    async with stack.container.database.transaction() as conn:
        await conn.execute(
            "UPDATE runs SET started_at = started_at - interval '25 hours' WHERE id = $1", run["id"]
        )
    await command(connected, "start")
    assert len(await ended(connected, 2)) == 2


async def test_connection_that_is_made_again_keeps_its_sync_paused(
    connected: httpx.AsyncClient, source: Source
) -> None:
    await command(connected, "start")
    await ended(connected, 1)
    await command(connected, "pause")

    await connect(connected, source.url)

    (found,) = await status(connected)
    assert found["status"] == "PAUSED"
    assert len(await runs(connected)) == 1


async def test_sync_that_is_deployed_again_runs_again(
    live: httpx.AsyncClient, source: Source
) -> None:
    files = project(auto_start=True)
    await deploy(live, files)
    await connect(live, source.url)
    await ended(live, 1)
    await command(live, "pause")
    without = dict(files)
    without["nango.yaml"] = without["nango.yaml"].replace("issues:", "tickets:", 1)
    without["tracker/syncs/tickets.py"] = without.pop("tracker/syncs/issues.py")
    assert (
        await live.post("/deployments", json={"files": without, "allow_destructive": True})
    ).status_code == 200

    assert (
        await live.post("/deployments", json={"files": files, "allow_destructive": True})
    ).status_code == 200

    (found,) = await status(live)
    assert found["name"] == "issues"
    assert found["status"] != "PAUSED"


async def frequency(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    target = {
        "provider_config_key": "tracker",
        "connection_id": "acme",
        "sync_name": "issues",
        "frequency": "every 5 minutes",
    }
    return await client.put("/sync/update-connection-frequency", json=target | body)


async def period(stack: Stack, key: ConnectionKey) -> float:
    """Seconds between the runs of the sync of a connection."""
    row = await stack.container.database.syncs.get(key, "issues")
    schedule = schedule_id(sync_input(stack.environment.name, row))
    found = await stack.container.temporal.get_schedule_handle(schedule).describe()
    return found.schedule.spec.intervals[0].every.total_seconds()


async def test_frequency_of_a_connection_survives_deploys_until_it_is_reverted(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    await deploy(live, project(auto_start=True))
    key = ConnectionKey((await connect(live, source.url))["id"])
    await connect(live, source.url, "globex")

    assert (await frequency(live, frequency="5  minutes")).json() == {
        "frequency": "every 5 minutes"
    }
    await deploy(live, project(TELLS, auto_start=True))

    mine, other = sorted(await status(live), key=lambda sync: sync["connection_id"])
    assert (mine["frequency"], other["frequency"]) == ("every 5 minutes", "every day")
    assert await period(stack, key) == 300

    assert (await frequency(live, frequency=None)).json() == {"frequency": "every day"}
    assert await period(stack, key) == 86_400
    (mine,) = await status(live, connection_id="acme")
    assert mine["frequency"] == "every day"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"frequency": "now and then"}, (400, "invalid_body")),
        ({"frequency": "every 5 seconds"}, (400, "invalid_body")),
        ({"sync_name": "nothing"}, (400, "unknown_sync")),
        ({"sync_variant": "eu"}, (400, "unknown_sync")),
        ({"connection_id": "nobody"}, (400, "unknown_connection")),
        ({"provider_config_key": "crm"}, (400, "unknown_provider_config")),
    ],
)
async def test_frequency_that_cannot_be_set_is_refused(
    connected: httpx.AsyncClient, body: dict[str, Any], refused: tuple[int, str]
) -> None:
    assert error_of(await frequency(connected, **body)) == refused


async def test_run_that_is_cancelled_stops_within_seconds_and_keeps_what_it_saved(
    connected: httpx.AsyncClient, source: Source
) -> None:
    held = Held(source, 3)
    await command(connected, "trigger")
    await held.asked()
    (run,) = await runs(connected)

    async with asyncio.timeout(20):
        answer = await connected.post(f"/runs/{run['id']}/cancel")
    held.go_on()

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    # Pages 2 and 3 are asked for together; the script has seen the first one.
    assert len(await titles(connected)) == 100
    again = await connected.post(f"/runs/{run['id']}/cancel")
    assert error_of(again) == (409, "run_ended")
    assert error_of(await connected.post("/runs/nothing/cancel")) == (404, "unknown_run")


async def test_step_is_tried_for_as_long_as_the_sync_says(
    live: httpx.AsyncClient, source: Source
) -> None:
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        retry_limit: 6s"
    )
    await deploy(live, files)
    await connect(live, source.url)
    attempts = []

    def busy(page: int) -> Response | None:
        if page == 1:
            return None
        attempts.append(page)
        return Response("busy", 503)

    source.before = busy

    await command(live, "trigger")
    (run,) = await ended(live, 1)

    assert (run["status"], run["error"]["type"]) == ("failed", "script_http_error")
    # They come after 1 and 2 seconds; the one after 4 more would be too late.
    assert attempts == [2, 2, 2]
    assert len(await titles(live)) == 100


async def test_run_over_its_time_limit_is_shown_as_timeout_and_keeps_what_it_saved(
    live: httpx.AsyncClient, source: Source
) -> None:
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        run_timeout: 10s"
    )
    await deploy(live, files)
    await connect(live, source.url)
    held = Held(source, 3)

    await command(live, "start")
    await held.asked()
    (run,) = await ended(live, 1)
    held.go_on()

    assert (run["status"], run["error"]["type"]) == ("timeout", "run_timeout")
    # Pages 2 and 3 are asked for together; the script has seen the first one.
    assert len(await titles(live)) == 100
    (sync,) = await status(live)
    assert (sync["status"], sync["nextScheduledSyncAt"] is not None) == ("ERROR", True)
    source.before = lambda _: None
    await deploy(live, project())  # without a limit, which a slow machine could come to
    await command(live, "trigger")
    assert [r["status"] for r in await ended(live, 2)] == ["timeout", "success"]
