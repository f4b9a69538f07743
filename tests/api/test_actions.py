"""Actions over REST."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

import api.temporal
from api.app import create_app
from perdure.app.container import Container
from tests.api.calls import client_of, connect, deploy, error_of
from tests.support.deaf_ears import way_to
from tests.support.deploys import eventually
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}

CALLS_OUT = """
async def run_action(nango, input):
    return (await nango.get(endpoint=input["path"])).data
"""


async def call(
    client: httpx.AsyncClient, value: Any = None, action: str = "echo", **headers: str
) -> httpx.Response:
    named = NAMED | {name.replace("_", "-"): text for name, text in headers.items()}
    body = {"action_name": action, "input": value}
    return await client.post("/action/trigger", json=body, headers=named)


async def with_action(client: httpx.AsyncClient, source: Source, script: str) -> None:
    await deploy(client, project(action=script))
    await connect(client, source.url)


async def only_run(client: httpx.AsyncClient) -> dict[str, Any]:
    (run,) = (await client.get("/runs?kind=action")).json()["runs"]
    return run


async def test_action_is_answered_with_what_it_returns(connected: httpx.AsyncClient) -> None:
    answer = await call(connected, {"text": "hej \N{SNOWMAN}"})

    assert answer.status_code == 200
    assert answer.json() == {"text": "hej \N{SNOWMAN}"}
    run = await only_run(connected)
    assert (run["script"], run["status"], run["connection_id"]) == ("echo", "success", "acme")
    assert run["workflow_id"].startswith("action/")


@pytest.mark.parametrize("output", ["None", "[]", "'text'", "12345678901234567890", "{'a': None}"])
async def test_output_is_raw_json(live: httpx.AsyncClient, source: Source, output: str) -> None:
    script = f"async def run_action(nango, input):\n    return {output}\n"
    await with_action(live, source, script)

    answer = await call(live)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == eval(output)


async def test_error_of_the_script_carries_its_payload(
    live: httpx.AsyncClient, source: Source
) -> None:
    script = """
        from perdure import ActionError

        async def run_action(nango, input):
            raise ActionError({"message": "not today", "reason": ["a"]})
        """
    await with_action(live, source, script)

    answer = await call(live)

    assert error_of(answer) == (500, "action_script_runtime_error")
    error = answer.json()["error"]
    assert error["payload"] == {"message": "not today", "reason": ["a"]}
    assert error["message"] == "tracker/actions/echo.py:5: not today"
    run = await only_run(live)
    assert run["status"] == "failed"
    assert run["error"]["type"] == "action_script_runtime_error"
    assert run["error"]["line"] == 5


async def test_refusal_of_the_external_api_is_passed_on(
    live: httpx.AsyncClient, source: Source
) -> None:
    source.server.expect_request("/refuse").respond_with_json({"reason": "no"}, status=422)
    await with_action(live, source, CALLS_OUT)

    answer = await call(live, {"path": "/refuse"})

    assert error_of(answer) == (424, "script_http_error")
    error = answer.json()["error"]
    assert error["payload"] == {"reason": "no"}
    assert error["upstream"]["status"] == 422
    assert error["upstream"]["headers"]["content-type"] == "application/json"
    assert error["upstream"]["body"] == {"reason": "no"}


async def test_any_other_failure_names_file_and_line(
    live: httpx.AsyncClient, source: Source
) -> None:
    await with_action(live, source, "async def run_action(nango, input):\n    return input['x']\n")

    answer = await call(live, {})

    assert error_of(answer) == (500, "script_internal_error")
    assert answer.json()["error"]["message"] == "tracker/actions/echo.py:2: KeyError: 'x'"


async def test_what_does_not_exist_has_nangos_codes(connected: httpx.AsyncClient) -> None:
    assert error_of(await call(connected, connection_id="x")) == (400, "unknown_connection")
    assert error_of(await call(connected, provider_config_key="x")) == (
        400,
        "unknown_provider_config",
    )
    assert error_of(await call(connected, action="nothing")) == (404, "not_found")
    assert error_of(await call(connected, action="issues")) == (404, "not_found")


async def test_input_that_is_no_unicode_is_refused(connected: httpx.AsyncClient) -> None:
    answer = await connected.post(
        "/action/trigger",
        content=r'{"action_name": "echo", "input": {"text": "\ud800"}}',
        headers={
            "content-type": "application/json",
            "connection-id": "acme",
            "provider-config-key": "tracker",
        },
    )
    assert error_of(answer) == (400, "unstorable_text")


async def test_action_before_any_deploy_does_not_exist(
    environment: Stack, api: httpx.AsyncClient
) -> None:
    await environment.connect("http://127.0.0.1:1")
    assert error_of(await call(api)) == (404, "not_found")


async def test_action_goes_on_when_its_caller_hangs_up(
    own_app: FastAPI, live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(page: int) -> None:
        asked.set()
        go_on.wait(20)

    source.before = hold
    await with_action(live, source, CALLS_OUT)
    async with client_of(own_app, stack.secret_key) as caller:
        calling = asyncio.create_task(call(caller, {"path": "/issues"}))
        assert await asyncio.to_thread(asked.wait, 20)
        calling.cancel()
        await asyncio.wait({calling})
    assert (await only_run(live))["status"] == "running"

    go_on.set()
    await own_app.state.background.close(20)

    assert (await only_run(live))["status"] == "success"


async def test_action_is_started_with_what_an_auditor_looks_for(
    container: Container, connected: httpx.AsyncClient, stack: Stack
) -> None:
    await call(connected, {"text": "x"})
    run = await only_run(connected)

    handle = container.temporal.get_workflow_handle(run["workflow_id"], run_id=run["id"])
    found = await handle.describe()

    assert await found.static_summary() == "tracker / echo for acme"
    attributes = {pair.key.name: pair.value for pair in found.typed_search_attributes}
    assert {name: value for name, value in attributes.items() if name.startswith("Perdure")} == {
        "PerdureKind": "action",
        "PerdureEnvironment": stack.environment.name,
        "PerdureIntegration": "tracker",
        "PerdureConnection": "acme",
        "PerdureScript": "echo",
        "PerdureBundle": run["bundle"],
    }


async def test_actions_need_temporal(offline: httpx.AsyncClient, environment: Stack) -> None:
    await environment.deploy(project())
    await environment.connect("http://127.0.0.1:1")

    answer = await call(offline, {"text": "x"})

    assert error_of(answer) == (503, "temporal_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await offline.get("/runs")).json() == {"runs": [], "next_cursor": None}


async def test_action_that_may_have_been_started_is_not_to_be_called_again_without_a_key(
    container: Container,
    connected: httpx.AsyncClient,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api.temporal, "RPC_TIMEOUT", timedelta(seconds=1))
    temporal = container.temporal
    async with way_to(container.settings.temporal_address) as way:
        client = await Client.connect(
            way.address, namespace=temporal.namespace, data_converter=temporal.data_converter
        )
        app = create_app(replace(container, temporal=client))
        async with client_of(app, stack.secret_key) as caller:
            way.loses_answers = True
            plain, keyed = await asyncio.gather(
                call(caller, {"text": "plain"}),
                call(caller, {"text": "keyed"}, idempotency_key="once"),
            )
            way.loses_answers = False

    assert error_of(plain) == (504, "action_result_unknown")
    assert error_of(keyed) == (503, "temporal_unavailable")
    # It was started, indeed.
    facts = plain.json()["error"]["payload"]
    assert plain.headers["x-action-id"] == facts["id"]

    async def ended() -> bool:
        return (await connected.get(facts["statusUrl"])).status_code == 200

    await eventually(ended)
    again = await call(connected, {"text": "keyed"}, idempotency_key="once")
    assert (again.status_code, again.json()) == (200, {"text": "keyed"})
