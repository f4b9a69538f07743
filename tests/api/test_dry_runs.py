"""Dry runs: a script runs as it is written now, and nothing of ours changes."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from pytest_httpserver import HTTPServer

from tests.api.calls import connect, deploy, error_of
from tests.support.hooks import with_hooks
from tests.support.project import PAGINATED, project
from tests.support.source import Source
from tests.support.stack import Stack
from tests.support.tracked import tracked

NOTHING = "async def fetch_data(nango):\n    pass\n"


async def dry_run(
    client: httpx.AsyncClient,
    files: dict[str, str],
    script: str = "issues",
    *,
    status: str = "success",
    **options: Any,
) -> dict[str, Any]:
    """Make a dry run for `acme` and return what it came to."""
    body = {"files": files, "script": script, "connection_id": "acme", **options}
    answer = await client.post("/dry-runs", json=body)
    assert answer.status_code == 200, answer.text
    run_id = answer.json()["run_id"]
    while True:
        view = (await client.get(f"/dry-runs/{run_id}")).json()
        if view["run"]["status"] != "running":
            assert view["run"]["status"] == status, view["run"]
            return view


def sync(body: str, **options: Any) -> dict[str, str]:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return project(f"async def fetch_data(nango):\n{lines}", **options)


@pytest.fixture
async def client(live: httpx.AsyncClient, source: Source) -> httpx.AsyncClient:
    """Connection `acme`; what is deployed does nothing."""
    await deploy(live, project(NOTHING))
    await connect(live, source.url)
    return live


async def save(stack: Stack, *records: dict[str, Any]) -> None:
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    await stack.save(stack.record_set(connection), *records)


async def stored(stack: Stack) -> list[dict[str, Any]]:
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    return await stack.records(connection)


async def test_records_are_classified_and_not_written(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await save(
        stack,
        {"id": "same", "title": "a"},
        {"id": "other", "title": "old"},
        {"id": "gone", "title": "c"},
        {"id": "merged", "title": "m", "n": 1},
    )
    before = await stored(stack)

    view = await dry_run(
        client,
        sync(
            """
await nango.batch_save([{"id": "same", "title": "a"}, {"id": "other", "title": "new"}], "Issue")
await nango.batch_save([{"id": "new", "title": "n"}], "Issue")
await nango.batch_save([{"id": "new", "title": "n"}, {"id": "brief", "title": "b"}], "Issue")
await nango.batch_update([{"id": "merged", "n": 2}, {"id": "unknown", "n": 2}], "Issue")
await nango.batch_delete([{"id": "gone"}, {"id": "brief"}], "Issue")
"""
        ),
    )

    preview = view["records"]["Issue"]
    assert preview["counts"] == {"added": 1, "updated": 2, "deleted": 1, "unchanged": 2}
    rows = {row["id"]: row for row in preview["rows"]}
    assert rows["other"] == {
        "fate": "updated",
        "id": "other",
        "before": {"id": "other", "title": "old"},
        "after": {"id": "other", "title": "new"},
    }
    assert rows["merged"]["after"] == {"id": "merged", "title": "m", "n": 2}
    assert (rows["new"]["fate"], rows["new"]["before"]) == ("added", None)
    assert rows["gone"]["fate"] == "deleted"
    assert await stored(stack) == before


async def test_script_reads_what_it_would_have_changed(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await save(stack, {"id": "same", "title": "a"}, {"id": "other", "title": "old"})
    await save(stack, {"id": "gone", "title": "c"})
    before = await stored(stack)

    view = await dry_run(
        client,
        sync(
            """
await nango.batch_save([{"id": "other", "title": "new"}, {"id": "same", "title": "a"}], "Issue")
await nango.batch_delete([{"id": "gone"}], "Issue")
await nango.batch_save([{"id": str(n), "title": "n"} for n in range(1, 1201)], "Issue")
named = await nango.get_records_by_ids(["other", "same", "gone", "1", "unknown"], "Issue")
assert {name: record["title"] for name, record in named.items()} == {
    "other": "new", "same": "a", "gone": "c", "1": "n"
}
assert named["gone"]["_nango_metadata"]["last_action"] == "DELETED"
assert named["1"]["_nango_metadata"]["last_action"] == "ADDED"
ids = [record["id"] async for record in nango.list_records("Issue")]
assert ids[0] == "same" and len(ids) == 1203
assert set(ids[1:]) == {"other", "gone", *(str(n) for n in range(1, 1201))}
"""
        ),
    )

    assert view["run"]["status"] == "success", view["run"]["error"]
    assert view["records"]["Issue"]["counts"]["added"] == 1200
    assert await stored(stack) == before


async def test_nothing_else_changes(client: httpx.AsyncClient, stack: Stack) -> None:
    view = await dry_run(
        client,
        sync(
            """
assert await nango.get_checkpoint() == {"page": 3}
assert await nango.get_metadata() == {"team": "a"}
await nango.save_checkpoint({"page": 4})
await nango.update_metadata({"more": True})
assert (await nango.get_connection())["metadata"] == {"team": "a", "more": True}
assert await nango.try_acquire_lock(key="k", ttl_ms=1000)
await nango.trigger_sync("tracker", "acme", "issues")
await nango.log("now", level="debug")
"""
        ),
        checkpoint={"page": 3},
        metadata={"team": "a"},
    )

    assert view["checkpoint"] == {"page": 4}
    assert view["metadata"] == {"team": "a", "more": True}
    said = [line["message"] for line in view["run"]["logs"]]
    assert said == ["A real run would trigger tracker / issues for acme.", "now"]
    connection = (
        await client.get("/connections/acme", params={"provider_config_key": "tracker"})
    ).json()
    assert connection["metadata"] in (None, {})
    status = (
        await client.get(
            "/sync/status",
            params={"syncs": "issues", "provider_config_key": "tracker", "connection_id": "acme"},
        )
    ).json()["syncs"][0]
    assert (status["latestExecutionStatus"], status["checkpoint"]) == (None, None)
    (run,) = (await client.get("/runs", params={"kind": "sync"})).json()["runs"]
    assert run["dry_run"] is True
    deployed = (await client.get("/deployments")).json()["deployments"]
    assert run["bundle"] != deployed[0]["bundle"]


async def test_what_a_full_run_would_not_see_is_shown_as_deleted(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await save(stack, *({"id": str(n), "title": "t"} for n in range(4)))
    files = tracked(
        'async def fetch_data(nango):\n    await nango.batch_save([{"id": "1", '
        '"title": "t"}, {"id": "9", "title": "t"}], "Issue")\n'
    )

    view = await dry_run(client, files)

    counts = view["records"]["Issue"]["counts"]
    assert counts == {"added": 1, "updated": 0, "deleted": 3, "unchanged": 1}
    assert len(await stored(stack)) == 4


async def test_an_empty_full_run_shows_that_its_deletion_would_be_held(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await save(stack, {"id": "1", "title": "t"})

    view = await dry_run(client, tracked(NOTHING))

    assert view["records"] == {}
    assert "1 of 1 Issue were not seen" in view["run"]["logs"][-1]["message"]


async def test_deletes_that_a_script_tracks_are_shown(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await save(stack, {"id": "1", "title": "t"}, {"id": "2", "title": "t"})

    view = await dry_run(
        client,
        sync(
            """
await nango.track_deletes_start("Issue")
await nango.batch_save([{"id": "2", "title": "t"}], "Issue")
await nango.log(await nango.track_deletes_end("Issue"))
"""
        ),
    )

    assert view["records"]["Issue"]["counts"]["deleted"] == 1
    assert '"deletedKeys":["1"]' in view["run"]["logs"][-1]["message"]


async def test_an_action_is_run_with_its_input_and_tells_its_output(
    client: httpx.AsyncClient,
) -> None:
    view = await dry_run(client, project(), "echo", input={"text": "hello"})

    assert view["output"] == {"text": "hello"}
    assert (view["run"]["kind"], view["run"]["action_id"]) == ("action", None)


async def test_a_script_that_fails_tells_where(client: httpx.AsyncClient) -> None:
    files = sync('await nango.batch_save([{"id": "1", "title": "t"}], "Issue")\n1 / 0')

    view = await dry_run(client, files, status="failed")

    assert view["run"]["error"]["file"] == "tracker/syncs/issues.py"
    assert view["run"]["error"]["line"] == 3
    assert view["records"]["Issue"]["counts"]["added"] == 1


async def test_a_dry_run_cannot_be_retried(client: httpx.AsyncClient) -> None:
    view = await dry_run(client, sync("1 / 0"), status="failed")

    answer = await client.post(f"/runs/{view['run']['id']}/retry", json={})

    assert error_of(answer) == (409, "run_not_retryable")


async def test_values_that_do_not_fit_fail_only_where_that_is_asked_for(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    await stack.validation("off")
    files = sync('await nango.batch_save([{"id": "1", "title": 7}], "Issue")')

    await dry_run(client, files)
    view = await dry_run(client, files, status="failed", validate=True)

    assert view["run"]["error"]["type"] == "invalid_sync_record"


async def test_requests_are_kept_for_a_fixture_without_credentials(
    client: httpx.AsyncClient, source: Source
) -> None:
    view = await dry_run(client, project(PAGINATED), keep_requests=True)

    fixture = view["fixture"]
    pages = fixture["api"]["GET"]["/issues"]
    assert [page.get("params") for page in pages] == [
        None,
        *({"cursor": page["response"]["next"]} for page in pages[:-1]),
    ]
    assert pages[-1]["response"]["next"] is None
    assert len(fixture["nango"]["batchSave"]["Issue"]) == len(source.records)
    assert "key-of-acme" not in str(fixture)


async def test_pages_past_the_script_are_shown_and_kept_for_a_fixture(
    client: httpx.AsyncClient, source: Source, stack: Stack
) -> None:
    saving = PAGINATED.replace("async for page in nango", "pages = nango").replace(
        "    ):\n", "    )\n    await pages.save('Issue', map=to_issue)\n"
    )
    script = saving[: saving.index("        await nango.batch_save")] + (
        "\n\ndef to_issue(raw):\n    return Issue(id=raw['id'], title=raw['title'])\n"
    )

    view = await dry_run(client, project(script), keep_requests=True)

    assert view["records"]["Issue"]["counts"]["added"] == len(source.records)
    assert await stored(stack) == []
    fixture = view["fixture"]
    assert len(fixture["api"]["GET"]["/issues"]) == len(source.served) == 3
    assert len(fixture["nango"]["batchSave"]["Issue"]) == len(source.records)


async def test_more_records_than_a_test_should_hold_make_no_fixture(
    client: httpx.AsyncClient,
) -> None:
    files = sync(
        'await nango.batch_save([{"id": str(n), "title": "t"} for n in range(1, 1100)], "Issue")'
    )

    view = await dry_run(client, files, keep_requests=True)

    assert view["fixture"] is None
    assert view["fixture_refused"] == (
        "The run made more than 1,000 records; a fixture holds at most that many."
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"script": "nothing"}, (404, "script_not_found")),
        ({"connection_id": "nobody"}, (400, "unknown_connection")),
        ({"script": "echo", "variant": "b"}, (400, "invalid_body")),
        ({"input": 1}, (400, "invalid_body")),
        ({"files": {"nango.yaml": "integrations: ["}}, (400, "failed_to_parse_nango_yaml")),
    ],
)
async def test_what_cannot_be_tried_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    body = {"files": project(), "script": "issues", "connection_id": "acme", **change}

    assert error_of(await client.post("/dry-runs", json=body)) == expected


async def test_a_script_may_be_named_by_its_file(client: httpx.AsyncClient) -> None:
    await dry_run(client, project(NOTHING), "tracker/syncs/issues.py")


async def test_a_run_that_is_real_is_no_dry_run(client: httpx.AsyncClient, stack: Stack) -> None:
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    handle = await stack.start_sync(connection)
    await handle.result()

    answer = await client.get(f"/dry-runs/{handle.result_run_id}")

    assert error_of(answer) == (404, "unknown_dry_run")


async def test_items_and_triggered_actions_are_dry_as_well(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    script = """
async def one(nango, item):
    await nango.batch_save([{"id": item, "title": "t"}], "Issue")
    await nango.save_checkpoint({"item": item})


async def fetch_data(nango):
    await nango.each(["1", "2"], one)
    await nango.trigger_action("echo", {"text": "hi"})
"""
    action = "async def run_action(nango, input):\n    await nango.set_metadata({'a': 1})\n"

    view = await dry_run(client, project(script, action))

    assert view["records"]["Issue"]["counts"]["added"] == 2
    assert await stored(stack) == []
    runs = (await client.get("/runs")).json()["runs"]
    assert {(run["kind"], run["dry_run"]) for run in runs} == {("sync", True), ("action", True)}
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    assert not connection.metadata


async def test_refusals_and_other_requests_are_kept_for_a_fixture_too(
    client: httpx.AsyncClient, source: Source, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/gone").respond_with_json({"error": "no"}, status=404)
    url = httpserver.url_for("/issues")
    files = project(
        action=f"""
async def run_action(nango, input):
    try:
        await nango.post("/gone", data={{}}, params={{"a": 1, "api_key": "k"}})
    except Exception as error:
        assert error.status == 404
    return (await nango.uncontrolled_fetch(url="{url}?limit=1")).status
"""
    )

    view = await dry_run(client, files, "echo", input={}, keep_requests=True)

    api = view["fixture"]["api"]
    refused = api["POST"]["/gone"]
    assert (refused["status"], refused["response"]) == (404, {"error": "no"})
    assert refused["params"] == {"a": "1", "api_key": "***"}
    assert list(api["GET"]) == [url]
    assert api["GET"][url]["params"] == {"limit": "1"}
    assert view["fixture"]["output"] == 200


async def test_a_hook_is_tried_with_the_connection(
    client: httpx.AsyncClient, stack: Stack, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hooks/hello").respond_with_json({"n": 1})
    setting = """
async def on_event(nango):
    answer = await nango.get("/hooks/hello")
    await nango.set_metadata(answer.data)
"""
    files = with_hooks(create=["hello"], scripts={"hello": setting})

    view = await dry_run(client, files, "hello", keep_requests=True)

    assert (view["run"]["kind"], view["metadata"]) == ("on-event", {"n": 1})
    assert view["fixture"]["api"] == {"GET": {"/hooks/hello": ANY}}
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    assert not connection.metadata


async def test_a_hook_that_fails_tells_where(client: httpx.AsyncClient) -> None:
    failing = "async def on_event(nango):\n    raise ValueError('no')\n"
    files = with_hooks(delete=["bye"], scripts={"bye": failing})

    view = await dry_run(client, files, "tracker/on-events/bye.py", status="failed")

    assert view["run"]["error"]["line"] == 2
