"""Scripts in tests: what they are told, what they did, and the rules of the engine."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from perdure import ActionError, HelperError, HttpError
from perdure.errors import InvalidInputError
from perdure.testing import ScriptRun, UnknownRequestError, read_fixture, run_script
from tests.support.hooks import with_hooks
from tests.support.project import PAGINATED, project
from tests.support.tracked import tracked


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def run_sync(folder: Path, body: str, fixture: dict[str, Any] | None = None) -> ScriptRun:
    script = "async def fetch_data(nango):\n" + "".join(
        f"    {line}\n" for line in dedent(body).strip().splitlines()
    )
    return run_script(write(folder, project(script)), "issues", fixture or {})


def run_action(
    folder: Path, body: str, fixture: dict[str, Any] | None = None, top: str = ""
) -> ScriptRun:
    script = f"{dedent(top)}\nasync def run_action(nango, input):\n" + "".join(
        f"    {line}\n" for line in dedent(body).strip().splitlines()
    )
    return run_script(write(folder, project(action=script)), "echo", fixture or {})


def page(*ids: int, following: str | None = None) -> dict[str, Any]:
    return {"items": [{"id": str(n), "title": f"T{n}"} for n in ids], "next": following}


def test_pages_are_played_back_in_the_order_of_their_parameters(tmp_path: Path) -> None:
    answers = [
        {"response": page(3), "params": {"cursor": "b"}},
        {"response": page(1, 2, following="b"), "params": {}},
    ]

    run = run_script(
        write(tmp_path, project(PAGINATED)), "issues", {"api": {"GET": {"/issues": answers}}}
    )

    assert [record["id"] for record in run.saved["Issue"]] == ["1", "2", "3"]
    assert [dict(asked.params) for asked in run.requests] == [{}, {"cursor": "b"}]


def test_what_was_not_recorded_is_told_with_what_was(tmp_path: Path) -> None:
    with pytest.raises(UnknownRequestError) as told:
        run_sync(
            tmp_path,
            """
            try:
                await nango.get("/b", params={"page": 1})
            except Exception:
                pass
            """,
            {"api": {"GET": {"/a": {"response": 1, "params": {"x": "1"}}}}},
        )

    assert 'asked for GET /b {"page": "1"}' in str(told.value)
    assert 'GET /a {"x": "1"}' in str(told.value)


def test_answers_of_a_list_are_given_once(tmp_path: Path) -> None:
    body = 'return [(await nango.get("/n")).data for _ in range({})]'
    fixture = {"api": {"GET": {"/n": [{"response": 1}, {"response": 2}]}}}

    assert run_action(tmp_path, body.format(2), fixture).output == [1, 2]
    with pytest.raises(UnknownRequestError, match="or not once more"):
        run_action(tmp_path, body.format(3), fixture)


def test_a_refusal_is_an_http_error(tmp_path: Path) -> None:
    fixture = {"api": {"POST": {"/n": {"status": 404, "response": {"error": "no"}}}}}

    with pytest.raises(HttpError) as raised:
        run_action(tmp_path, 'await nango.post("/n", data={"a": 1})', fixture)

    assert raised.value.status == 404
    assert raised.value.response is not None
    assert raised.value.response.data == {"error": "no"}


def test_records_follow_the_rules_of_the_cache(tmp_path: Path) -> None:
    run = run_sync(
        tmp_path,
        """
        await nango.batch_save([{"id": "1", "title": "a"}, {"id": "1", "title": "b"}], "Issue")
        await nango.batch_update([{"id": "2", "more": {"y": 2}}, {"id": "9", "n": 1}], "Issue")
        await nango.batch_delete([{"id": "3"}], "Issue")
        await nango.batch_save([{"id": "4", "title": "d"}], "Issue")
        await nango.batch_delete([{"id": "4"}], "Issue")
        found = await nango.get_records_by_ids(["1", "3"], "Issue")
        await nango.log({k: r["_nango_metadata"]["last_action"] for k, r in found.items()})
        await nango.log([r["id"] async for r in nango.list_records("Issue")])
        """,
        {
            "nango": {
                "listRecords": {
                    "Issue": [
                        {"id": "2", "title": "b", "more": {"x": 1}},
                        {"id": "3", "title": "c"},
                    ]
                }
            }
        },
    )

    assert run.saved == {
        "Issue": [
            {"id": "1", "title": "a"},
            {"id": "2", "title": "b", "more": {"x": 1, "y": 2}},
        ]
    }
    assert run.deleted == {"Issue": ["3", "4"]}
    texts = [text for _, text in run.logs]
    assert texts[0].startswith("1 records of Issue had an id that was in the same batch already")
    assert texts[-2:] == ['{"1":"ADDED","3":"DELETED"}', '["1","2","3","4"]']


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ('nango.batch_save([{"id": "1", "title": 5}], "Issue")', "invalid_sync_record"),
        ('nango.batch_save([{"title": "t"}], "Issue")', "missing_id"),
        ('nango.batch_save([{"id": "1", "title": "t"}], "Other")', "unknown_model"),
        ("nango.save_checkpoint({'a': [1]})", "invalid_checkpoint"),
        ("nango.track_deletes_end('Issue')", "track_deletes_not_started"),
        ("nango.get('/x', nonsense=1)", "invalid_options"),
        ("nango.try_acquire_lock(key='', ttl_ms=1)", "invalid_options"),
    ],
)
def test_wrong_calls_fail_as_in_a_run(tmp_path: Path, call: str, code: str) -> None:
    with pytest.raises(HelperError) as raised:
        run_sync(tmp_path, f"await {call}")

    assert raised.value.code == code


def test_what_a_full_run_does_not_see_is_deleted(tmp_path: Path) -> None:
    script = (
        "async def fetch_data(nango):\n"
        '    await nango.batch_save([{"id": "1", "title": "a"}], "Issue")\n'
    )
    there = [{"id": "1", "title": "a"}, {"id": "2", "title": "b"}]

    run = run_script(write(tmp_path, tracked(script)), "issues", {}, records={"Issue": there})

    assert run.deleted == {"Issue": ["2"]}


def test_checkpoints_and_metadata_are_the_tests_own(tmp_path: Path) -> None:
    run = run_sync(
        tmp_path,
        """
        assert await nango.get_checkpoint() == {"page": 1}
        await nango.save_checkpoint({"page": 2})
        await nango.update_metadata({"b": 2})
        await nango.trigger_sync("tracker", nango.connection_id, "issues")
        assert await nango.try_acquire_lock(key="k", ttl_ms=5)
        assert str(nango.last_sync_date) == "2024-01-01 00:00:00+00:00"
        """,
        {
            "nango": {
                "getCheckpoint": {"page": 1},
                "getMetadata": {"a": 1},
                "lastSyncDate": "2024-01-01T00:00:00Z",
            }
        },
    )

    assert run.checkpoint == {"page": 2}
    assert run.metadata == {"a": 1, "b": 2}
    assert [command.syncs[0].name for command in run.triggered] == ["issues"]


def test_functions_items_and_actions_work(tmp_path: Path) -> None:
    run = run_action(
        tmp_path,
        """
        assert await nango.trigger_action("other", {"n": 1}) == "done"
        return [await nango.run(double, 4), await nango.each([1, 2], plus)]
        """,
        {"nango": {"triggerAction": {"other": ["done"]}}},
        top="""
        def double(n: int) -> int:
            return 2 * n

        async def plus(nango, n: int) -> int:
            return n + 1
        """,
    )

    assert run.output == [8, [2, 3]]


def test_a_script_that_raises_is_shown_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ActionError) as raised:
        run_action(tmp_path, 'raise nango.ActionError({"a": input})', {"input": 5})

    assert raised.value.payload == {"a": 5}
    assert str(raised.traceback[-1].statement).strip() == 'raise nango.ActionError({"a": input})'


def test_another_result_than_the_recorded_one_fails(tmp_path: Path) -> None:
    fixture = {"nango": {"batchSave": {"Issue": [{"id": "1", "title": "a"}]}}}
    body = 'await nango.batch_save([{{"id": "1", "title": "{}"}}], "Issue")'

    run_sync(tmp_path, body.format("a"), fixture).assert_as_recorded()
    with pytest.raises(AssertionError):
        run_sync(tmp_path, body.format("b"), fixture).assert_as_recorded()


def test_a_fixture_that_is_wrong_is_told_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"api.GET./x"):
        read_fixture({"api": {"GET": {"/x": 5}}})
    with pytest.raises(InvalidInputError, match="records one"):
        read_fixture(tmp_path / "none.json")


def test_a_hook_runs_with_the_helper_of_actions(tmp_path: Path) -> None:
    script = "async def on_event(nango):\n    await nango.set_metadata({'a': 1})\n"
    files = with_hooks(create=["hello"], scripts={"hello": script})

    run = run_script(write(tmp_path, files), "hello", {})

    assert run.metadata == {"a": 1}


PAST_THE_SCRIPT = """
from models import Issue


def to_issue(raw):
    return None if raw["id"] == "2" else Issue(id=raw["id"], title=raw["title"].lower())


def fails(raw):
    return raw["nothing"]


async def fetch_data(nango):
    pages = nango.paginate("/issues", paginate={
        "type": "cursor", "cursor_name_in_request": "cursor", "cursor_path_in_response": "next",
        "response_path": "items",
    })
    saved = await pages.save("Issue", map=to_issue)
    await nango.log(f"{saved.pages} pages, {saved.added} added")
"""


def test_pages_are_saved_past_the_script_in_memory_too(tmp_path: Path) -> None:
    answers = [
        {"response": page(1, 2, following="b"), "params": {}},
        {"response": page(3), "params": {"cursor": "b"}},
    ]
    api = {"api": {"GET": {"/issues": answers}}}

    run = run_script(write(tmp_path, project(PAST_THE_SCRIPT)), "issues", api)

    assert run.saved["Issue"] == [{"id": "1", "title": "t1"}, {"id": "3", "title": "t3"}]
    assert run.logs == [("info", "2 pages, 2 added")]


def test_a_mapping_that_fails_in_a_test_says_where(tmp_path: Path) -> None:
    api = {"api": {"GET": {"/issues": [{"response": page(1)}]}}}
    script = PAST_THE_SCRIPT.replace("map=to_issue", "map=fails")

    with pytest.raises(HelperError, match=r"syncs/issues\.py:10: KeyError.*page 1, element 0"):
        run_script(write(tmp_path, project(script)), "issues", api)
