"""Actions are completed: they wait for days, have their time limits, and write once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Request, Response

from perdure.db.runs import RunStatus
from perdure.temporal.failures import describe_failure
from tests.support.actions import action
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


class Keys:
    """The idempotency keys that an API got with its writes."""

    def __init__(self, source: Source) -> None:
        self.got: list[str | None] = []
        self.answers: list[Response] = []
        source.server.expect_request("/orders", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        self.got.append(request.headers.get("idempotency-key"))
        return self.answers.pop(0) if self.answers else Response("{}", mimetype="application/json")


async def start(
    stack: Stack, source: Source, body: str, *, provider: str = "generic-api-key", **call: Any
) -> WorkflowHandle[Any, Any]:
    await stack.deploy(project(action=action(body)))
    connection = await stack.connect(source.url, provider=provider)
    return await stack.start_action(connection, None, **call)


async def failure_of(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return describe_failure(caught.value)


async def test_action_sleeps_for_days(skipping: Stack, source: Source) -> None:
    body = """
        import asyncio
        from datetime import timedelta

        await asyncio.sleep(timedelta(days=3).total_seconds())
        return "rested"
        """
    handle = await start(skipping, source, body)

    assert (await handle.result())["output"] == "rested"
    found = await handle.describe()
    assert found.close_time is not None
    assert found.close_time - found.start_time >= timedelta(days=3)


async def test_action_that_sleeps_through_a_deploy_goes_on_as_it_began(
    stack: Stack, source: Source
) -> None:
    body = """
        import asyncio

        await asyncio.sleep(3)
        return "the old one"
        """
    handle = await start(stack, source, body)
    await stack.deploy(project(action=action("return 'the new one'")))

    assert (await handle.result())["output"] == "the old one"


async def test_step_is_tried_for_as_long_as_the_action_says(
    skipping: Stack, source: Source
) -> None:
    source.server.expect_request("/away").respond_with_data("away", status=503)
    files = project(action=action("return (await nango.get(endpoint='/away')).data"))
    limited = "endpoint: POST /echo\n        retry_limit: 2 hours"
    files["nango.yaml"] = files["nango.yaml"].replace("endpoint: POST /echo", limited)
    await skipping.deploy(files)
    handle = await skipping.start_action(await skipping.connect(source.url), None)

    assert (await failure_of(handle))["type"] == "script_http_error"
    found = await handle.describe()
    assert found.close_time is not None
    took = found.close_time - found.start_time
    assert timedelta(minutes=100) <= took <= timedelta(minutes=125)


async def test_action_is_ended_when_its_time_is_over(stack: Stack, source: Source) -> None:
    body = """
        import asyncio

        try:
            await asyncio.sleep(3600)
        finally:
            await nango.log("cleaned up")
        """
    files = project(action=action(body))
    limited = "endpoint: POST /echo\n        run_timeout: 2s"
    files["nango.yaml"] = files["nango.yaml"].replace("endpoint: POST /echo", limited)
    await stack.deploy(files)
    handle = await stack.start_action(await stack.connect(source.url), None, keeps_record=True)

    failure = await failure_of(handle)

    assert failure["type"] == "run_timeout"
    assert failure["file"] == "tracker/actions/echo.py"
    run = await stack.run(handle)
    assert run.status is RunStatus.TIMEOUT
    (line,) = await stack.container.database.runs.logs(run.id)
    assert line.message == "cleaned up"


async def test_write_has_the_same_key_however_often_it_is_tried(
    stack: Stack, source: Source
) -> None:
    keys = Keys(source)
    keys.answers = [Response("slow down", 429, {"retry-after": "0"}) for _ in range(2)]
    body = """
        await nango.post(endpoint="/orders", data={"n": 1}, retries=3)
        await nango.post(endpoint="/orders", data={"n": 1}, retries=3)
        await nango.post(endpoint="/orders", data={"n": 2}, retries=3)
        """
    handle = await start(stack, source, body, provider="stripe-api-key")
    await handle.result()

    first, second, third, other, different = keys.got
    assert first == second == third, "attempts of one call"
    assert len({first, other, different}) == 3, "calls that the script means to make"


async def test_script_that_runs_again_writes_with_the_keys_it_had(
    stack: Stack, source: Source
) -> None:
    keys = Keys(source)
    body = """
        await nango.post(endpoint="/orders", data={"n": 1})
        await nango.post(endpoint="/orders", data={"n": 1})
        answer = await nango.get(endpoint="/flaky")
        """
    flaky = iter([404, 404, 200])
    source.server.expect_request("/flaky").respond_with_handler(
        lambda _: Response("{}", next(flaky), mimetype="application/json")
    )
    handle = await start(stack, source, body, provider="stripe-api-key", max_retries=2)
    await handle.result()

    once = keys.got[:2]
    assert once[0] != once[1]
    assert keys.got == once * 3


async def test_actions_write_with_keys_of_their_own(stack: Stack, source: Source) -> None:
    keys = Keys(source)
    body = 'await nango.post(endpoint="/orders", data={"n": 1})'
    for _ in range(2):
        await (await start(stack, source, body, provider="stripe-api-key")).result()
    assert len(set(keys.got)) == 2


async def test_history_of_one_that_waits_for_its_turn_stays_short(
    stack: Stack, source: Source
) -> None:
    await stack.container.database.actions.set_limits(
        stack.environment.id, environment=1, connection=None
    )
    first = await start(stack, source, "import asyncio\nawait asyncio.sleep(3)", queued=True)
    async with asyncio.timeout(20):
        while not [e async for e in first.fetch_history_events() if _starts_timer(e)]:
            await asyncio.sleep(0.05)
    second = await start(stack, source, "return 1", queued=True)

    await asyncio.gather(first.result(), second.result())

    history = await second.fetch_history()
    assert len(history.events) < 30


def _starts_timer(event: HistoryEvent) -> bool:
    return event.HasField("timer_started_event_attributes")
