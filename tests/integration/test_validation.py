"""Records, inputs and outputs are held against their models, as strictly as is wanted."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

TWO_BATCHES = """
async def fetch_data(nango):
    records = [{"id": str(n), "title": "t"} for n in range(1, 1301)]
    records[1204]["title"] = 5
    await nango.batch_save([{"id": "0", "title": "before"}], "Issue")
    await nango.batch_save(records, "Issue")
"""


async def failure(stack: Stack, connection: Any) -> dict[str, Any]:
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.run_sync(connection)
    return describe_failure(caught.value)


async def test_failing_record_names_model_index_id_field_and_reason_and_saves_nothing(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(TWO_BATCHES))
    connection = await stack.connect(source.url)

    error = await failure(stack, connection)

    assert error["type"] == "invalid_sync_record"
    assert (
        "Issue records[1204] (id '1205'): title: Input should be a valid string" in error["message"]
    )
    assert error["line"] == 6
    assert [r["id"] for r in await stack.records(connection)] == ["0"]


async def test_record_is_checked_as_it_is_saved(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            from models import Issue

            async def fetch_data(nango):
                await nango.batch_save([Issue.model_construct(id="1", title=7)], "Issue")
            """
        )
    )

    error = await failure(stack, await stack.connect(source.url))

    assert "Issue records[0] (id '1'): title: Input should be a valid string" in error["message"]


@pytest.mark.parametrize(
    "value",
    ["datetime.date(2024, 1, 1)", "'2024-01-01'", "'2024-01-01T00'", "'tomorrow'", "1704067200"],
)
async def test_date_that_is_none_is_refused_with_what_to_write(
    stack: Stack, source: Source, value: str
) -> None:
    files = project(
        f"import datetime\n\nasync def fetch_data(nango):\n"
        f"    await nango.batch_save([{{'id': '1', 'title': 't', 'due': {value}}}], 'Issue')\n"
    )
    files["nango.yaml"] = files["nango.yaml"].replace(
        "title: string", "title: string\n    due: date"
    )
    await stack.deploy(files)

    error = await failure(stack, await stack.connect(source.url))

    assert error["type"] == "invalid_sync_record"
    assert "Issue records[0] (id '1'): due: " in error["message"]
    assert "write 2024-01-01T00:00:00Z, or give a datetime" in error["message"]


@pytest.mark.parametrize(
    "value",
    ["datetime.datetime(2024, 1, 1)", "'2024-01-01T00:00:00Z'", "'2024-01-01T00:00:00+02:00'"],
)
async def test_date_with_a_time_is_saved(stack: Stack, source: Source, value: str) -> None:
    files = project(
        f"import datetime\n\nasync def fetch_data(nango):\n"
        f"    await nango.batch_save([{{'id': '1', 'title': 't', 'due': {value}}}], 'Issue')\n"
    )
    files["nango.yaml"] = files["nango.yaml"].replace(
        "title: string", "title: string\n    due: date"
    )
    await stack.deploy(files)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert (await stack.records(connection))[0]["due"].startswith("2024-01-01T00:00:00")


WITHOUT_FORM = """
def scored(raw):
    score = float("{number}") if raw["id"] == "2" else 1.0
    return {{"id": raw["id"], "title": "t", "score": score}}


async def fetch_data(nango):
    pages = nango.paginate(
        endpoint="/issues",
        paginate={{
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        }},
    )
    {form}
"""
LOOP = 'async for page in pages: await nango.batch_save([scored(i) for i in page], "Issue")'
PAST = 'await pages.save("Issue", map=scored)'


@pytest.mark.parametrize("form", [LOOP, PAST], ids=["loop", "save"])
@pytest.mark.parametrize("number", ["nan", "inf"])
async def test_number_that_json_has_no_form_for_is_refused(
    stack: Stack, source: Source, form: str, number: str
) -> None:
    files = project(WITHOUT_FORM.format(number=number, form=form))
    models = files["nango.yaml"].replace("title: string", "title: string\n    score: number")
    files["nango.yaml"] = models
    await stack.deploy(files)
    connection = await stack.connect(source.url)

    error = await failure(stack, connection)

    assert error["type"] == "invalid_sync_record"
    place = "Issue records[1] (id '2'): score.float: Input should be a valid number"
    assert f"{place}; {number} has no form in JSON but null" in error["message"]
    assert await stack.records(connection) == []


async def test_environment_that_warns_saves_and_logs(stack: Stack, source: Source) -> None:
    await stack.validation("warn")
    await stack.deploy(project(TWO_BATCHES))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 1301
    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert (line.level, "records[1204]" in line.message) == ("warn", True)


async def test_environment_without_validation_takes_everything(
    stack: Stack, source: Source
) -> None:
    await stack.validation("off")
    await stack.deploy(project(TWO_BATCHES))
    connection = await stack.connect(source.url)

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 1301


async def test_fields_that_the_model_does_not_name_are_kept(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            "async def fetch_data(nango):\n"
            "    await nango.batch_save([{'id': '1', 'title': 't', 'more': [1]}], 'Issue')\n"
        )
    )
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert (await stack.records(connection))[0]["more"] == [1]


@pytest.mark.parametrize(
    ("value", "action", "code", "reason"),
    [
        ({"txt": "hi"}, "return input", "invalid_action_input", "input: text: Field required"),
        (None, "return {'text': 'x'}", "invalid_action_input", "input"),
        ({"text": "hi"}, "return {'text': 7}", "invalid_action_output", "output: text: "),
        ({"text": "hi"}, "return None", "invalid_action_output", "output"),
        ({"text": "hi"}, "return object()", "script_internal_error", "serialize"),
    ],
)
async def test_action_with_a_bad_input_or_output_fails_once(
    stack: Stack, source: Source, value: Any, action: str, code: str, reason: str
) -> None:
    await stack.deploy(
        project(action=f"async def run_action(nango, input):\n    {action}\n", typed=True)
    )
    connection = await stack.connect(source.url)

    with pytest.raises(WorkflowFailureError) as caught:
        await (await stack.start_action(connection, value)).result()

    error = describe_failure(caught.value)
    assert error["type"] == code
    assert reason in error["message"]


async def test_sync_input_is_the_connections_metadata(stack: Stack, source: Source) -> None:
    files = project("async def fetch_data(nango):\n    pass\n")
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        input: Echo"
    )
    await stack.deploy(files)

    error = await failure(stack, await stack.connect(source.url, metadata={"text": 1}))
    fine = await stack.run_sync(
        await stack.connect(source.url, connection_id="fine", metadata={"text": "x"})
    )

    assert error["type"] == "invalid_sync_input"
    assert "metadata of the connection (Echo): text" in error["message"]
    assert fine.skipped is None
