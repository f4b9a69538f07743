"""Pages that are saved past the script come to the same as pages that a loop saves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError
from werkzeug import Request, Response

from activities import save_pages
from perdure.db.connections import Connection
from tests.support.project import project
from tests.support.source import Source, issues
from tests.support.stack import Stack

CURSOR = {
    "type": "cursor",
    "cursor_name_in_request": "cursor",
    "cursor_path_in_response": "next",
    "response_path": "items",
}

HEAD = """
from perdure import ActionError, NangoSync
from models import Issue


def to_issue(raw):
    if raw["number"] % 7 == 0:
        return None
    return [Issue(id=raw["id"], title=raw["title"]), {"id": f"{raw['id']}-copy", "title": "copy"}]


def is_kept(record):
    return not (isinstance(record, Issue) and record.title.endswith("5"))

"""

LOOP = (
    HEAD
    + """
async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate(endpoint="/items", **OPTIONS):
        found = [record for raw in page for record in to_issue(raw) or []]
        await nango.batch_save([r for r in found if is_kept(r)], "Issue")
"""
)

SAVE = (
    HEAD
    + """
async def fetch_data(nango: NangoSync) -> None:
    pages = nango.paginate(endpoint="/items", **OPTIONS)
    saved = await pages.save("Issue", map=to_issue, where=is_kept)
    await nango.log(f"{saved.pages} pages, {saved.added} added, {saved.unchanged} unchanged")
"""
)


def saving(call: str, head: str = HEAD, **options: Any) -> dict[str, str]:
    """A sync that does something with pages of `/issues`."""
    options = {"paginate": CURSOR, **options}
    script = f"""
async def fetch_data(nango):
    pages = nango.paginate(endpoint="/issues", **{options!r})
    {call}
"""
    return project(head + script)


def paginated(answer: Callable[[Request, list[dict[str, Any]]], Response]) -> Any:
    def handle(request: Request) -> Response:
        return answer(request, issues(250))

    return handle


def by_cursor(request: Request, found: list[dict[str, Any]]) -> Response:
    asked = request.get_json() if request.method == "POST" else request.args
    start = int(asked.get("cursor") or 0)
    following = str(start + 100) if start + 100 < len(found) else None
    return _json({"items": found[start : start + 100], "next": following})


def by_offset(request: Request, found: list[dict[str, Any]]) -> Response:
    asked = request.get_json() if request.method == "POST" else request.args
    start = int(asked.get("offset") or 0)
    return _json(found[start : start + int(asked["limit"])])


def by_page(request: Request, found: list[dict[str, Any]]) -> Response:
    start = (int(request.args.get("page") or 1) - 1) * 100
    return _json(found[start : start + 100])


def by_link(request: Request, found: list[dict[str, Any]]) -> Response:
    start = int(request.args.get("from") or 0)
    answer = _json(found[start : start + 100])
    if start + 100 < len(found):
        answer.headers["Link"] = f'<{request.base_url}?from={start + 100}>; rel="next"'
    return answer


def by_link_in_body(request: Request, found: list[dict[str, Any]]) -> Response:
    start = int(request.args.get("from") or 0)
    more = f"{request.base_url}?from={start + 100}" if start + 100 < len(found) else None
    return _json({"items": found[start : start + 100], "links": {"next": more}})


def _json(value: Any) -> Response:
    return Response(json.dumps(value), content_type="application/json")


OFFSET = {
    "type": "offset",
    "offset_name_in_request": "offset",
    "limit": 100,
    "limit_name_in_request": "limit",
}
KINDS = {
    "cursor": (by_cursor, {"paginate": CURSOR}),
    "cursor-post": (by_cursor, {"paginate": CURSOR, "method": "POST", "data": {"query": "all"}}),
    "cursor-of-last-item": (
        lambda request, found: _json(
            found[int(request.args.get("after") or 0) :][:100],
        ),
        {
            "paginate": {
                "type": "cursor",
                "cursor_name_in_request": "after",
                "cursor_path_in_response": "",
                "cursor_path_in_last_item": "number",
            }
        },
    ),
    "offset": (by_offset, {"paginate": OFFSET}),
    "offset-post": (by_offset, {"paginate": OFFSET, "method": "POST", "data": {}}),
    "page": (
        by_page,
        {
            "paginate": {
                "type": "offset",
                "offset_name_in_request": "page",
                "offset_start_value": 1,
                "offset_calculation_method": "per-page",
            }
        },
    ),
    "link": (by_link, {"paginate": {"type": "link", "link_rel_in_response_header": "next"}}),
    "link-in-body": (
        by_link_in_body,
        {
            "paginate": {
                "type": "link",
                "link_path_in_response_body": "links.next",
                "response_path": "items",
            }
        },
    ),
}


def plain(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {r["id"]: {k: v for k, v in r.items() if k != "_nango_metadata"} for r in records}


def pages_asked(server: HTTPServer) -> int:
    """How many pages were asked for; what an earlier test left running asks for other things."""
    return sum(request.path == "/items" for request, _ in server.log)


@pytest.mark.parametrize("kind", KINDS)
async def test_saving_past_the_script_comes_to_what_a_loop_does(
    stack: Stack, httpserver: HTTPServer, kind: str
) -> None:
    answer, options = KINDS[kind]
    httpserver.expect_request("/items").respond_with_handler(paginated(answer))
    url = httpserver.url_for("").rstrip("/")
    looping = await stack.connect(url, connection_id="loop")
    saving_ = await stack.connect(url, connection_id="save")

    await stack.deploy(project(LOOP.replace("OPTIONS", repr(options))))
    by_loop = await stack.run_sync(looping)
    asked = pages_asked(httpserver)
    await stack.deploy(project(SAVE.replace("OPTIONS", repr(options))))
    by_save = await stack.run_sync(saving_)
    again = await stack.run_sync(saving_)

    assert by_save.counts == by_loop.counts
    assert plain(await stack.records(saving_)) == plain(await stack.records(looping))
    assert pages_asked(httpserver) == 3 * asked, "each page is asked for once"
    assert again.counts["Issue"]["unchanged"] == by_save.counts["Issue"]["added"] > 400


async def outcome(stack: Stack, connection: Connection) -> BaseException:
    with pytest.raises(WorkflowFailureError) as failure:
        await stack.run_sync(connection)
    cause = failure.value.__cause__
    assert cause is not None
    return cause


async def test_elements_are_the_records_where_nothing_is_mapped(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(saving('await pages.save("Issue")'))
    connection = await stack.connect(source.url)

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 250
    assert source.served == {1: 1, 2: 1, 3: 1}


async def test_pages_can_be_deleted_past_the_script(stack: Stack, source: Source) -> None:
    connection = await stack.connect(source.url)
    await stack.deploy(saving('await pages.save("Issue")'))
    await stack.run_sync(connection)
    source.records = issues(120)
    head = 'def gone(raw):\n    return {"id": raw["id"], "deletedAt": "2026-01-31T12:00:00Z"}\n'
    await stack.deploy(saving('await pages.delete("Issue", map=gone)', head))

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["deleted"] == 120
    gone = [r for r in await stack.records(connection) if r["_nango_metadata"]["deleted_at"]]
    assert len(gone) == 120
    assert {r["_nango_metadata"]["deleted_at"][:10] for r in gone} == {"2026-01-31"}


async def test_on_page_sees_each_page_and_ends_the_reading(stack: Stack, source: Source) -> None:
    head = """
def enough(page):
    assert page["response"].status == 200 and len(page["response"].data) == 100
    return page["next_page_param"] != "3"
"""
    await stack.deploy(saving('await pages.save("Issue", on_page=enough)', head))
    connection = await stack.connect(source.url)

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 200


async def test_a_function_that_raises_fails_the_run_with_file_line_and_element(
    stack: Stack, source: Source
) -> None:
    head = """
def to_issue(raw):
    if raw["number"] == 142:
        return {"id": raw["id"], "title": raw["nothing"]}
    return raw
"""
    await stack.deploy(saving('await pages.save("Issue", map=to_issue)', head))
    connection = await stack.connect(source.url)

    failure = await outcome(stack, connection)

    assert "tracker/syncs/issues.py:4: KeyError: 'nothing' (page 2, element 41)" in str(failure)
    assert len(await stack.records(connection)) == 100, "the page before it is saved"


ENDLESS = {
    "ends when it is interrupted": """
def to_issue(raw):
    while raw["number"] == 142:
        pass
    return raw
""",
    "catches all it is sent": """
import time


def to_issue(raw):
    end = time.monotonic() + 15
    while raw["number"] == 142 and time.monotonic() < end:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
    return raw
""",
}


@pytest.mark.parametrize("how", ENDLESS)
async def test_a_function_that_does_not_come_back_fails_the_run_with_file_and_line(
    stack: Stack, source: Source, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(save_pages, "_PAGE_LIMIT", 1.0)
    await stack.deploy(saving('await pages.save("Issue", map=to_issue)', ENDLESS[how]))
    connection = await stack.connect(source.url)

    failure = await outcome(stack, connection)

    assert getattr(failure, "type", None) == "script_blocked"
    assert "tracker/syncs/issues.py:" in str(failure)
    assert "(page 2" in str(failure)
    assert len(await stack.records(connection)) == 100, "the page before it is saved"


async def test_pages_are_mapped_one_after_another_in_their_order(
    stack: Stack, source: Source
) -> None:
    # Slower than pages come, so that the next ones wait.
    head = """
import time

from models import Issue

under_way, mapped = [], []


def to_issue(raw):
    under_way.append(raw["id"])
    time.sleep(0.002)
    mapped.append(raw["number"])
    title = f"{len(under_way)} at once, in order: {mapped == sorted(mapped)}"
    under_way.remove(raw["id"])
    return Issue(id=raw["id"], title=title)
"""
    source.records = issues(600)
    await stack.deploy(saving('await pages.save("Issue", map=to_issue)', head))
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    titles = {record["title"] for record in await stack.records(connection)}
    assert titles == {"1 at once, in order: True"}


async def test_a_function_with_some_arguments_given_is_refused_in_clear_words(
    stack: Stack, source: Source
) -> None:
    head = """
from functools import partial


def to_issue(prefix, raw):
    return raw
"""
    await stack.deploy(saving('await pages.save("Issue", map=partial(to_issue, "x"))', head))
    connection = await stack.connect(source.url)

    assert "top level" in str(await outcome(stack, connection))
    assert source.served == {}


BAD = {
    "invalid_record": ("def f(raw):\n    return 5\n", "`f` made of element 0 of the page a int"),
    "missing_id": ("def f(raw):\n    return {'title': 'x'}\n", "page 1: Record"),
    "invalid_step": ("async def f(raw):\n    return raw\n", "plain function"),
    "script_import_error": ("def f(raw):\n    import nowhere_at_all\n", "nowhere_at_all"),
}


@pytest.mark.parametrize("code", BAD)
async def test_what_cannot_be_saved_is_said_with_its_code(
    stack: Stack, source: Source, code: str
) -> None:
    head, said = BAD[code]
    await stack.deploy(saving('await pages.save("Issue", map=f)', head))
    connection = await stack.connect(source.url)

    failure = await outcome(stack, connection)

    assert said in str(failure)
    assert getattr(failure, "type", None) == code
    assert await stack.records(connection) == []


async def test_a_function_inside_of_another_is_refused(stack: Stack, source: Source) -> None:
    await stack.deploy(saving('await pages.save("Issue", map=lambda raw: raw)'))
    connection = await stack.connect(source.url)

    assert "top level" in str(await outcome(stack, connection))
    assert source.served == {}


@pytest.mark.parametrize("mode", ["enforce", "warn"])
async def test_records_are_held_against_their_model(
    stack: Stack, source: Source, mode: Any
) -> None:
    await stack.validation(mode)
    head = "def f(raw):\n    return {'id': raw['id'], 'title': 5 if raw['id'] == '130' else 'x'}\n"
    await stack.deploy(saving('await pages.save("Issue", map=f)', head))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)

    if mode == "enforce":
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert "page 2: Issue records[29] (id '130'): title" in str(failure.value.__cause__)
        assert len(await stack.records(connection)) == 100
        return
    await handle.result()

    assert len(await stack.records(connection)) == 250
    logs = await stack.container.database.runs.logs(handle.result_run_id or "")
    said = [line for line in logs if "records[29] (id '130')" in line.message]
    assert [line.level for line in said] == ["warn"]


async def test_a_refused_page_can_be_handled_and_a_passing_fault_is_not_noticed(
    stack: Stack, source: Source
) -> None:
    faults = {2: Response(status=503, headers={"Retry-After": "1"}), 3: Response(status=404)}
    source.before = lambda page: faults.pop(page, None) if page == 2 else faults.get(page)
    script = """
try:
        await pages.save("Issue")
    except Exception as error:
        await nango.log(type(error).__name__, error.status)
"""
    await stack.deploy(saving(script.strip()))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)

    result = await handle.result()

    assert result.counts["Issue"]["added"] == 200
    logs = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert "HttpError 404" in [line.message for line in logs]
    assert source.served == {1: 1, 2: 1}


async def test_full_syncs_delete_what_pages_past_the_script_lack(
    stack: Stack, source: Source
) -> None:
    files = saving('await pages.save("Issue")')
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        track_deletes: true"
    )
    await stack.deploy(files)
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    source.records = issues(240)

    result = await stack.run_sync(connection)

    assert result.counts["Issue"] == {"added": 0, "updated": 0, "deleted": 10, "unchanged": 240}


async def test_what_others_changed_meanwhile_is_left_alone(stack: Stack, source: Source) -> None:
    await stack.deploy(
        saving(
            'await nango.set_merging_strategy({"strategy": "ignore_if_modified_after"}, "Issue")\n'
            '    await pages.save("Issue")'
        )
    )
    connection = await stack.connect(source.url)
    target = stack.record_set(connection)
    await stack.save(target, {"id": "9", "title": "old"})

    def before(page: int) -> None:
        if page == 1:
            asyncio.run_coroutine_threadsafe(
                stack.save(target, {"id": "1", "title": "theirs"}), loop
            ).result(10)

    loop = asyncio.get_running_loop()
    source.before = before
    result = await stack.run_sync(connection)

    titles = {r["id"]: r["title"] for r in await stack.records(connection)}
    assert titles["1"] == "theirs"
    assert titles["9"] == "Issue 9"
    assert result.counts["Issue"]["added"] == 248


async def test_secrets_of_pages_stay_out_of_the_history(stack: Stack, source: Source) -> None:
    head = "def f(raw):\n    raise ValueError('seen: ' + raw['title'])\n"
    await stack.deploy(saving('await pages.save("Issue", map=f)', head))
    connection = await stack.connect(source.url, api_key="hush-hush-key")
    source.records = [{"id": "1", "title": "hush-hush-key", "number": 1}]
    handle = await stack.start_sync(connection)

    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()

    assert "seen: " in str(failure.value.__cause__)
    assert "hush-hush-key" not in str(failure.value.__cause__)
    assert "hush-hush-key" not in (await handle.fetch_history()).to_json()


async def test_secrets_that_the_script_knows_stay_out_of_the_history(
    stack: Stack, source: Source
) -> None:
    script = f"""
def f(raw):
    raise ValueError("seen: " + raw["title"])

async def fetch_data(nango):
    token = (await nango.get_connection())["credentials"]["apiKey"]
    options = {{"paginate": {CURSOR!r}, "headers": {{"x-token": token}}}}
    await nango.paginate(endpoint="/issues", **options).save("Issue", map=f)
"""
    await stack.deploy(project(script))
    connection = await stack.connect(source.url, api_key="hush-hush-key")
    source.records = [{"id": "1", "title": "=hush-hush-key=", "number": 1}]
    handle = await stack.start_sync(connection)

    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()

    assert "seen: =" in str(failure.value.__cause__)
    history = (await handle.fetch_history()).to_json()
    assert "save_pages" in history
    assert "hush-hush-key" not in history


async def test_actions_have_no_records_to_save(stack: Stack, source: Source) -> None:
    action = """
async def run_action(nango, input):
    await nango.paginate(endpoint="/issues").save("Issue")
"""
    await stack.deploy(project(action=action))
    connection = await stack.connect(source.url)

    with pytest.raises(WorkflowFailureError) as failure:
        await (await stack.start_action(connection, {})).result()

    assert getattr(failure.value.__cause__, "type", None) == "records_outside_sync"
