"""Actions and syncs that scripts set going."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from perdure.db.connections import Connection
from perdure.db.runs import Run, RunStatus
from perdure.temporal.failures import describe_failure
from tests.integration.test_secrets import assert_nowhere_in_history
from tests.support.actions import action
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

SHORT = """
async def fetch_data(nango):
    output = await nango.trigger_action("echo", {"text": "one"})
    await nango.batch_save([{"id": "1", "title": output["text"]}], "Issue")
"""

TOLD = """
async def fetch_data(nango):
    try:
        output = await nango.trigger_action("tracker", "acme", "echo", {"text": "one"})
    except Exception as error:
        told = [type(error).__name__, getattr(error, "code", ""), getattr(error, "payload", "")]
        if getattr(error, "response", None) is not None:
            told += [error.status, error.response.data]
        await nango.log(told)
"""


async def of_kind(stack: Stack, kind: str) -> list[Run]:
    """Return the runs of a kind, newest first, once none is under way any more."""
    for _ in range(100):
        runs = await stack.container.database.runs.list(stack.environment.id, kind=kind)
        if runs and all(run.status is not RunStatus.RUNNING for run in runs):
            break
        await asyncio.sleep(0.1)
    return list(runs)


async def begun(stack: Stack) -> Run:
    """Return the action that is under way, once it is."""
    runs = stack.container.database.runs
    while not (found := await runs.list(stack.environment.id, kind="action")):
        await asyncio.sleep(0.05)
    return found[0]


async def logged(stack: Stack, run_id: str | None) -> list[str]:
    return [line.message for line in await stack.container.database.runs.logs(run_id or "")]


async def test_action_is_a_run_of_its_own_and_returns_its_output(
    stack: Stack, source: Source
) -> None:
    echo = "await nango.log('here')\nreturn {'text': input['text'] + ' and two'}"
    bundle = await stack.deploy(project(SHORT, action(echo)))
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    assert record["title"] == "one and two"
    (run,) = await of_kind(stack, "action")
    assert (run.script, run.connection_id, run.status) == ("echo", "acme", RunStatus.SUCCESS)
    assert (run.integration, run.bundle_hash) == ("tracker", bundle)
    assert await logged(stack, run.id) == ["here"]
    handle = stack.container.temporal.get_workflow_handle(run.workflow_id)
    assert (await handle.describe()).task_queue == "perdure-actions"


async def test_action_runs_for_the_connection_that_is_named(stack: Stack, source: Source) -> None:
    script = """
        async def fetch_data(nango):
            other = await nango.trigger_action("tracker", "other", "echo", input="x")
            own = await nango.trigger_action("echo", input="y")
            nothing = await nango.trigger_action("echo")
            await nango.log(other, own, nothing)
        """
    await stack.deploy(project(script, action("return [nango.connection_id, input]")))
    connection = await stack.connect(source.url)
    await stack.connect(source.url, connection_id="other")

    handle = await stack.start_sync(connection)
    await handle.result()

    assert await logged(stack, handle.result_run_id) == ['["other","x"] ["acme","y"] ["acme",null]']


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise nango.ActionError({'n': 1})", ["ActionError", "", {"n": 1}]),
        ("raise ValueError('broken')", ["HelperError", "script_internal_error", ""]),
        ("await nango.get('/gone')", ["HttpError", "", "", 410, {"why": "sold"}]),
    ],
)
async def test_failure_of_an_action_reaches_the_script_in_its_shape(
    stack: Stack, source: Source, body: str, told: list[Any]
) -> None:
    source.server.expect_request("/gone").respond_with_json({"why": "sold"}, status=410)
    await stack.deploy(project(TOLD, action(body)))

    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    (line,) = await logged(stack, handle.result_run_id)
    assert json.loads(line) == told
    (run,) = await of_kind(stack, "action")
    assert run.status is RunStatus.FAILED
    assert run.error is not None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("'tracker', 'acme', 'nope'", "not_found"),
        ("'nope'", "not_found"),
        ("'tracker', 'nobody', 'echo'", "unknown_connection"),
        ("'nope', 'acme', 'echo'", "unknown_provider_config"),
        ("'echo', {'text': object()}", "invalid_action_input"),
        ("'echo', {'text': 5}", "invalid_action_input"),
    ],
)
async def test_call_that_cannot_be_made_is_a_helper_error(
    stack: Stack, source: Source, arguments: str, code: str
) -> None:
    script = f"""
        async def fetch_data(nango):
            try:
                await nango.trigger_action({arguments})
            except Exception as error:
                await nango.log(error.code)
        """
    await stack.deploy(project(script, typed=True))

    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    assert await logged(stack, handle.result_run_id) == [code]


async def test_cancelling_a_run_cancels_the_action_it_waits_for(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(SHORT, action("import asyncio\nawait asyncio.sleep(600)")))
    handle = await stack.start_sync(await stack.connect(source.url))
    await begun(stack)

    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    assert [run.status for run in await of_kind(stack, "action")] == [RunStatus.CANCELLED]
    assert [run.status for run in await of_kind(stack, "sync")] == [RunStatus.CANCELLED]


async def test_action_that_somebody_else_cancels_is_an_error_of_the_script(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(TOLD, action("import asyncio\nawait asyncio.sleep(600)")))
    handle = await stack.start_sync(await stack.connect(source.url))
    run = await begun(stack)

    await stack.container.temporal.get_workflow_handle(run.workflow_id).cancel()
    await handle.result()

    assert await logged(stack, handle.result_run_id) == ['["HelperError","run_cancelled",""]']


async def test_secrets_go_through_an_action_without_standing_in_a_history(
    stack: Stack, source: Source
) -> None:
    script = """
        async def fetch_data(nango):
            token = (await nango.get_token())["apiKey"]
            output = await nango.trigger_action("echo", {"token": token})
            raise RuntimeError(f"got {output}")
        """
    body = """
        await nango.log(input)
        variables = await nango.get_environment_variables()
        return [input["token"], variables[0]["value"]]
        """
    token, variable = f"sk-{uuid.uuid4().hex}", f"var-{uuid.uuid4().hex}"
    await stack.container.database.variables.set(stack.environment.id, "KEY", variable)
    await stack.deploy(project(script, action(body)))

    handle = await stack.start_sync(await stack.connect(source.url, api_key=token))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    assert "got ['***', '***']" in describe_failure(caught.value)["message"]
    (run,) = await of_kind(stack, "action")
    assert await logged(stack, run.id) == ['{"token":"***"}']
    await assert_nowhere_in_history(handle, token, variable)
    child = stack.container.temporal.get_workflow_handle(run.workflow_id)
    await assert_nowhere_in_history(child, token, variable)


NOTHING = "async def fetch_data(nango): pass"


async def scheduled(stack: Stack, source: Source, body: str, sync: str = NOTHING) -> Connection:
    """Deploy the sync `issues`, paused, and an action with this body."""
    await stack.deploy(project(sync, action(body)))
    connection = await stack.connect(source.url)
    config = await stack.container.bundles.config(
        (await stack.container.database.environments.by_id(stack.environment.id)).active_bundle
    )
    await stack.container.database.syncs.ensure(connection.key, "issues")
    declared = config.integration("tracker").sync("issues")
    await stack.container.schedules.ensure(
        stack.sync_input(connection), declared.interval, auto_start=False
    )
    return connection


@pytest.mark.parametrize(
    "command",
    [
        "trigger_sync('tracker', 'acme', 'issues')",
        "trigger_sync('tracker', 'acme', {'name': 'issues'})",
        "start_sync('tracker', ['issues'], 'acme')",
        "start_sync('tracker', [])",
    ],
)
async def test_sync_runs_when_a_script_says_so(stack: Stack, source: Source, command: str) -> None:
    connection = await scheduled(stack, source, f"return await nango.{command}")

    handle = await stack.start_action(connection, None)
    assert (await handle.result())["output"] is None

    (run,) = await of_kind(stack, "sync")
    assert (run.script, run.status) == ("issues", RunStatus.SUCCESS)
    status = await stack.container.schedules.status(stack.sync_input(connection))
    assert status is not None
    assert status.paused is command.startswith("trigger")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("trigger_sync('tracker', 'acme', 'nope')", "unknown_sync"),
        ("trigger_sync('tracker', 'acme', 'issues::other')", "unknown_sync"),
        ("trigger_sync('tracker', 'nobody', 'issues')", "unknown_connection"),
        ("trigger_sync('nope', 'acme', 'issues')", "unknown_provider_config"),
        ("trigger_sync('tracker', 'acme', 7)", "invalid_options"),
        ("start_sync('tracker', 'issues')", "invalid_options"),
    ],
)
async def test_sync_that_is_not_there_is_a_helper_error(
    stack: Stack, source: Source, command: str, code: str
) -> None:
    body = f"""
        try:
            await nango.{command}
        except Exception as error:
            return error.code
        """
    connection = await scheduled(stack, source, body)

    assert (await (await stack.start_action(connection, None)).result())["output"] == code


SAVING = """
async def fetch_data(nango):
    await nango.log("anew" if nango.last_sync_date is None else "onward")
    ids = (await nango.get_metadata())["ids"]
    await nango.batch_save([{"id": i, "title": "t"} for i in ids], "Issue")
"""


@pytest.mark.parametrize(
    ("options", "begins", "left"),
    [
        ("", "onward", ["1", "2"]),
        ("reset=True", "anew", ["1", "2"]),
        ("empty_cache=True", "anew", ["2"]),
    ],
)
async def test_sync_that_is_triggered_may_start_over(
    stack: Stack, source: Source, options: str, begins: str, left: list[str]
) -> None:
    body = f"await nango.trigger_sync('tracker', 'acme', 'issues', {options})"
    connection = await scheduled(stack, source, body, SAVING)
    store = stack.container.database.connections
    await store.set_metadata(stack.environment.id, "tracker", ["acme"], {"ids": ["1"]})
    await stack.run_sync(connection)
    await store.set_metadata(stack.environment.id, "tracker", ["acme"], {"ids": ["2"]})

    await (await stack.start_action(connection, None)).result()
    while len(runs := await of_kind(stack, "sync")) < 2:
        await asyncio.sleep(0.05)

    assert (await logged(stack, runs[0].id))[0] == begins
    alive = [r for r in await stack.records(connection) if not r["_nango_metadata"]["deleted_at"]]
    assert sorted(r["id"] for r in alive) == left


async def test_sync_may_have_itself_start_over(stack: Stack, source: Source) -> None:
    script = """
        async def fetch_data(nango):
            if not (await nango.get_metadata()).get("done"):
                await nango.set_metadata({"done": True})
                await nango.trigger_sync("tracker", "acme", "issues", reset=True)
                raise RuntimeError("it is not reached")
        """
    connection = await scheduled(stack, source, "pass", script)
    await stack.container.schedules.trigger(stack.sync_input(connection))
    while len(runs := await of_kind(stack, "sync")) < 2:
        await asyncio.sleep(0.05)

    assert [run.status for run in runs] == [RunStatus.SUCCESS, RunStatus.CANCELLED]


async def test_action_that_nobody_waits_for_is_completed(stack: Stack, source: Source) -> None:
    script = """
        import asyncio

        async def fetch_data(nango):
            waiting = asyncio.create_task(nango.trigger_action("echo", {"text": "late"}))
            await asyncio.sleep(2)
        """
    await stack.deploy(project(script, action("import asyncio\nawait asyncio.sleep(4)")))

    await stack.run_sync(await stack.connect(source.url))

    assert [run.status for run in await of_kind(stack, "action")] == [RunStatus.SUCCESS]
