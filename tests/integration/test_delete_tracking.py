"""What a full run did not see is deleted; and nothing else is, however runs end."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from api.app import create_app
from perdure.db.runs import RunStatus
from perdure.ids import EnvironmentId
from tests.api.calls import client_of, error_of
from tests.support.project import project
from tests.support.record_counts import live_count
from tests.support.source import Source, issues
from tests.support.stack import Stack
from tests.support.tracked import live, source_ids, tracked

PAGES = """
async def pages(nango):
    options = {"type": "cursor", "cursor_name_in_request": "cursor",
               "cursor_path_in_response": "next", "response_path": "items"}
    async for page in nango.paginate(endpoint="/issues", paginate=options):
        await nango.batch_save([{"id": i["id"], "title": i["title"]} for i in page], "Issue")
"""

BY_HAND = (
    PAGES
    + """

async def fetch_data(nango):
    await nango.track_deletes_start("Issue")
    await pages(nango)
    found = await nango.track_deletes_end("Issue")
    await nango.log(found)
"""
)

FROM_PREVIOUS = (
    PAGES
    + """

async def fetch_data(nango):
    await pages(nango)
    await nango.log(await nango.delete_records_from_previous_executions("Issue"))
"""
)


async def messages(stack: Stack, run_id: str, level: str = "info") -> list[str]:
    lines = await stack.container.database.runs.logs(run_id)
    return [line.message for line in lines if line.level == level]


async def notes(stack: Stack, connection) -> int:
    return await stack.container.database.pool.fetchval(
        "SELECT count(*) FROM seen_records s JOIN delete_tracks t ON t.id = s.track_id"
        " WHERE t.connection_key = $1",
        connection.key,
    )


async def test_records_that_a_full_run_did_not_see_are_deleted_with_their_payload_kept(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    del source.records[10:15]
    source.records[0]["title"] = "Changed"
    source.records += [{"id": "new", "title": "New"}]

    result = await stack.run_sync(connection)

    assert result.counts["Issue"] == {"added": 1, "updated": 1, "deleted": 5, "unchanged": 244}
    assert await live(stack, connection) == source_ids(source)
    deleted = [r for r in await stack.records(connection) if r["_nango_metadata"]["deleted_at"]]
    assert [(r["id"], r["title"]) for r in deleted] == [
        (str(n), f"Issue {n}") for n in range(11, 16)
    ]
    assert await notes(stack, connection) == 0
    assert await live_count(stack.container.database, stack.record_set(connection)) == len(
        source.records
    )


async def test_a_run_that_fails_deletes_nothing_and_the_next_one_decides(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:200]
    source.before = lambda page: Response("no", 403) if page == 2 else None

    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(connection)
    assert len(await live(stack, connection)) == 250

    source.before = lambda _: None
    result = await stack.run_sync(connection)
    assert result.counts["Issue"]["deleted"] == 50
    assert await live(stack, connection) == source_ids(source)


async def test_a_sync_without_track_deletes_deletes_nothing(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:200]

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 0
    assert len(await live(stack, connection)) == 250


async def test_a_record_that_others_write_during_the_run_is_not_deleted(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:248]
    asked, release = threading.Event(), threading.Event()

    def wait(page: int) -> Response | None:
        if page == 3:
            asked.set()
            release.wait(20)
        return None

    source.before = wait
    handle = await stack.start_sync(connection)
    await asyncio.to_thread(asked.wait, 20)
    webhook = {"id": "249", "title": "from a webhook"}
    unchanged = {"id": "250", "title": "Issue 250"}
    await stack.save(stack.record_set(connection), webhook, unchanged)
    release.set()
    result = await handle.result()

    assert result.counts["Issue"]["deleted"] == 0
    assert await live(stack, connection) == source_ids(source) | {"249", "250"}


@pytest.mark.parametrize("script", [BY_HAND, FROM_PREVIOUS], ids=["start-end", "previous"])
async def test_scripts_delete_what_they_did_not_see(
    stack: Stack, source: Source, script: str
) -> None:
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:247]

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["deleted"] == 3
    assert await live(stack, connection) == source_ids(source)
    (line,) = await messages(stack, handle.result_run_id or "")
    assert line == '{"deletedKeys":["248","249","250"],"deletedCount":3,"held":false}'
    assert await notes(stack, connection) == 0


async def test_a_track_of_a_script_survives_a_run_that_fails(stack: Stack, source: Source) -> None:
    await stack.deploy(project(BY_HAND))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.before = lambda page: Response("no", 403) if page == 2 else None
    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(connection)
    # The first page was seen by the run that failed, the rest is by the next one.
    second = PAGES.replace("endpoint=", 'params={"cursor": "2"}, endpoint=')
    await stack.deploy(project(BY_HAND.replace(PAGES, second)))
    source.before = lambda _: None
    source.records = source.records[:240]

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 10
    assert await live(stack, connection) == source_ids(source)


async def test_ending_what_was_not_begun_is_an_error(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project("async def fetch_data(nango):\n    await nango.track_deletes_end('Issue')\n")
    )
    handle = await stack.start_sync(await stack.connect(source.url))

    with pytest.raises(WorkflowFailureError):
        await handle.result()

    assert (await stack.run(handle)).error["type"] == "track_deletes_not_started"


async def held(stack: Stack, connection) -> list[tuple[str, int, int]]:
    tracks = await stack.container.database.delete_tracks.held(connection.key, "issues")
    return [(t.target.model, t.live or 0, t.absent or 0) for t in tracks]


@pytest.mark.parametrize("left", [0, 100], ids=["nothing", "less-than-half"])
async def test_a_run_that_would_delete_too_much_succeeds_deletes_nothing_and_says_how_to_confirm(
    stack: Stack, source: Source, left: int
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:left]

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts.get("Issue", {}).get("deleted", 0) == 0
    assert len(await live(stack, connection)) == 250
    assert (await stack.run(handle)).status is RunStatus.SUCCESS
    assert await held(stack, connection) == [("Issue", 250, 250 - left)]
    (warning,) = await messages(stack, handle.result_run_id or "", "warn")
    assert f"{250 - left} of 250 Issue were not seen" in warning
    assert "perdure syncs confirm-deletes tracker issues acme --model Issue" in warning
    shown = await handle.query("__temporal_workflow_metadata")
    assert "their deletion waits to be confirmed" in shown.current_details


async def test_without_a_guard_everything_may_go(stack: Stack, source: Source) -> None:
    await stack.deploy(tracked(guard="off"))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = []

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 250
    assert await live(stack, connection) == set()


async def test_the_next_run_that_succeeds_supersedes_what_is_held(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    everything, source.records = source.records, []
    await stack.run_sync(connection)
    assert await held(stack, connection)

    source.records = everything[:249]
    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 1
    assert await held(stack, connection) == []


@pytest.mark.parametrize("script", [BY_HAND, FROM_PREVIOUS], ids=["start-end", "previous"])
async def test_the_guard_holds_for_scripts_as_well(
    stack: Stack, source: Source, script: str
) -> None:
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:10]

    handle = await stack.start_sync(connection)
    await handle.result()

    (line,) = await messages(stack, handle.result_run_id or "")
    assert line == '{"deletedKeys":[],"deletedCount":0,"held":true}'
    assert await held(stack, connection) == [("Issue", 250, 240)]
    # The next run begins anew, and may be held back in its turn.
    source.records = issues(250)
    await stack.run_sync(connection)
    assert await held(stack, connection) == []
    assert len(await live(stack, connection)) == 250


async def confirm(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    target = {"provider_config_key": "tracker", "connection_id": "acme", "sync": "issues"}
    return await client.post("/sync/confirm-deletes", json=target | body)


async def test_confirming_deletes_what_is_absent_still(stack: Stack, source: Source) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:10]
    handle = await stack.start_sync(connection)
    await handle.result()
    await stack.save(stack.record_set(connection), {"id": "200", "title": "Issue 200"})

    async with client_of(create_app(stack.container), stack.secret_key) as client:
        query = {"provider_config_key": "tracker", "syncs": "*"}
        (status,) = (await client.get("/sync/status", params=query)).json()["syncs"]
        run = (await client.get(f"/runs/{handle.result_run_id}")).json()
        answer = await confirm(client)
        again = await confirm(client)

    (shown,) = status["heldDeletes"]
    assert (shown["model"], shown["live"], shown["absent"]) == ("Issue", 250, 240)
    assert run["held_deletes"] == status["heldDeletes"]
    assert answer.json() == {"success": True, "deleted": {"Issue": 239}}
    assert await live(stack, connection) == source_ids(source) | {"200"}
    assert error_of(again) == (404, "no_held_deletes")
    assert await notes(stack, connection) == 0


async def test_dismissing_keeps_the_records(stack: Stack, source: Source) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = []
    await stack.run_sync(connection)

    async with client_of(create_app(stack.container), stack.secret_key) as client:
        unknown = await confirm(client, model="Other")
        answer = await confirm(client, dismiss=True)

    assert error_of(unknown) == (404, "no_held_deletes")
    assert answer.json() == {"success": True, "deleted": {}}
    assert await held(stack, connection) == []
    assert len(await live(stack, connection)) == 250


async def test_a_run_that_goes_on_after_its_failure_deletes_only_what_it_did_not_see(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = source.records[:240]
    source.before = lambda page: Response("no", 403) if page == 2 else None
    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    source.before = lambda _: None

    async with client_of(create_app(stack.container), stack.secret_key) as client:
        answer = await client.post(f"/runs/{handle.result_run_id}/retry", json={})
        assert answer.status_code == 200, answer.text
    resumed = stack.container.temporal.get_workflow_handle(handle.id)
    await resumed.result()

    assert source.served[1] == 2, "the first page was not fetched again"
    assert await live(stack, connection) == source_ids(source)
    run = await stack.container.database.runs.get(
        EnvironmentId(stack.environment.id), handle.result_run_id or ""
    )
    assert run.counts["Issue"] == {"added": 0, "updated": 0, "deleted": 10, "unchanged": 240}


@pytest.mark.parametrize("script", [None, BY_HAND, FROM_PREVIOUS], ids=["config", "hand", "prev"])
async def test_a_run_that_empties_the_cache_leaves_absence_to_the_swap(
    stack: Stack, source: Source, script: str | None
) -> None:
    await stack.deploy(tracked(script) if script else tracked())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    everything, source.records = source.records, []
    await stack.run_sync(connection)
    assert await held(stack, connection)
    source.records = everything[:5]

    resyncs = stack.container.database.resyncs
    await resyncs.request(connection.key, "issues", "empty_cache")
    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 245
    assert await live(stack, connection) == source_ids(source)
    assert await held(stack, connection) == [], "whoever starts over forgets what was held back"
    source.records = everything[1:5]
    assert (await stack.run_sync(connection)).counts["Issue"]["deleted"] == 1


async def test_a_run_that_empties_the_cache_and_sees_nothing_waits_for_somebody_s_word(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    everything, source.records = source_ids(source), []
    await stack.container.database.resyncs.request(connection.key, "issues", "empty_cache")

    handle = await stack.start_sync(connection)
    await handle.result()

    assert await live(stack, connection) == everything
    (said,) = await messages(stack, handle.result_run_id or "", "warn")
    assert said.startswith("250 of 250 Issue were not seen")
    async with client_of(create_app(stack.container), stack.secret_key) as client:
        body = {"provider_config_key": "tracker", "connection_id": "acme", "sync": "issues"}
        answer = await client.post("/sync/confirm-deletes", json=body)
    assert answer.json()["deleted"] == {"Issue": 250}
    assert await live(stack, connection) == set()
