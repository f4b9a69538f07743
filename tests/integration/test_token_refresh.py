"""Runs whose connection has tokens that end, against a real authorization server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import ActivityEnvironment
from werkzeug import Request, Response

from activities.credential_refreshes import CredentialActivities, IdleCredentials
from activities.webhook_dispatch import WebhookDispatcher, WebhookSweep
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.registrations import starter_of
from perdure.app.worker import workers
from perdure.db.connections import Connection
from perdure.temporal.client import register_search_attributes
from perdure.temporal.failures import describe_failure
from tests.support.actions import action
from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.keepers import loopback_connection, providers_file
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.stack import Stack, namespaced

ENDED = -1.0
ME = """
answer = await nango.get(endpoint="/me")
return {"sub": answer.data["sub"]}
"""
POST = """
return (await nango.post(endpoint="/things", data={"n": 1})).data
"""
PAGES = """
paginate = {"type": "link", "link_path_in_response_body": "next", "response_path": "items"}
return [[*page] async for page in nango.paginate(endpoint="/things", paginate=paginate)]
"""
FIVE_REFUSALS = """
from perdure import HttpError
seen = []
for _ in range(5):
    try:
        await nango.get(endpoint="/things")
    except HttpError as error:
        seen.append(error.status)
return seen
"""
TOKEN = """
return len(await nango.get_token())
"""
CONNECTION = """
return (await nango.get_connection())["connection_id"]
"""
SAME_TOKEN = """
token = await nango.get_token()
found = (await nango.get_connection())["credentials"]
return {"same": token == found["access_token"], "refresh_token": "refresh_token" in found}
"""
NEW_TOKEN = """
token = await nango.get_token()
found = (await nango.get_connection(force_refresh=True, refresh_token=True))["credentials"]
return {"same": token == found["access_token"], "refresh_token": "refresh_token" in found}
"""


@pytest.fixture(scope="module")
async def keeping_container(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Container]:
    """Workers that know the loopback providers, and try again after a second."""
    async with AsyncExitStack() as opened:
        folder: Path = tmp_path_factory.mktemp("providers")
        own = await namespaced(
            settings, providers=providers_file(folder), refresh_backoff_seconds=1
        )
        container = await opened.enter_async_context(open_container(own, name="refreshing"))
        await register_search_attributes(container.temporal)
        for worker in workers(container, container.transport):
            await opened.enter_async_context(worker)
        yield container


@pytest.fixture
async def stack(keeping_container: Container) -> Stack:
    return await Stack.create(keeping_container)


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server() as server:
        yield server


async def connect(
    stack: Stack, server: AuthorizationServer, credentials: dict[str, Any], **options: Any
) -> Connection:
    return await loopback_connection(
        stack.container.database, stack.environment.id, server, credentials, **options
    )


async def start(
    stack: Stack, connection: Connection, body: str, value: Any = None
) -> WorkflowHandle[Any, Any]:
    await stack.deploy(project(action=action(body)))
    return await stack.start_action(connection, value)


async def call(stack: Stack, connection: Connection, body: str, value: Any = None) -> Any:
    return (await (await start(stack, connection, body, value)).result())["output"]


async def failure_of(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return describe_failure(caught.value)


async def test_a_request_is_made_with_a_token_that_is_good(
    stack: Stack, server: AuthorizationServer
) -> None:
    connection = await connect(stack, server, await server.tokens(lifetime=ENDED))

    assert await call(stack, connection, ME) == {"sub": "user-1"}
    assert await server.refreshes() == 1


async def test_a_refused_token_is_refreshed_and_the_request_made_again(
    stack: Stack, server: AuthorizationServer
) -> None:
    tokens = await server.tokens()
    connection = await connect(stack, server, tokens)
    await server.forget(tokens)

    assert await call(stack, connection, ME) == {"sub": "user-1"}
    assert await server.refreshes() == 1


class Things:
    """An API that refuses the first tokens it sees."""

    def __init__(self, http: HTTPServer, *, refuses: int) -> None:
        self.url = http.url_for("").rstrip("/")
        self.refuses = refuses
        self.seen: list[str] = []
        http.expect_request("/things").respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        self.seen.append(request.headers["authorization"])
        if len(set(self.seen)) <= self.refuses:
            return Response('{"error": "no"}', status=401, content_type="application/json")
        answer = '{"made": true}' if request.method == "POST" else '{"items": ["a", "b"]}'
        return Response(answer, content_type="application/json")


async def test_a_write_that_was_refused_for_its_token_is_made_again_with_the_next(
    stack: Stack, server: AuthorizationServer, httpserver: HTTPServer
) -> None:
    things = Things(httpserver, refuses=1)
    connection = await connect(stack, server, await server.tokens(), apiUrl=things.url)

    assert await call(stack, connection, POST) == {"made": True}
    assert len(things.seen) == len(set(things.seen)) == 2
    assert await server.refreshes() == 1


async def test_a_page_that_was_refused_for_its_token_is_fetched_again_with_the_next(
    stack: Stack, server: AuthorizationServer, httpserver: HTTPServer
) -> None:
    things = Things(httpserver, refuses=1)
    connection = await connect(stack, server, await server.tokens(), apiUrl=things.url)

    assert await call(stack, connection, PAGES) == [["a", "b"]]
    assert await server.refreshes() == 1


async def test_an_api_that_refuses_every_token_is_not_believed_for_ever(
    stack: Stack, server: AuthorizationServer, httpserver: HTTPServer
) -> None:
    things = Things(httpserver, refuses=1_000)
    connection = await connect(stack, server, await server.tokens(), apiUrl=things.url)

    assert await call(stack, connection, FIVE_REFUSALS) == [401] * 5
    assert await server.refreshes() == 1
    assert len(things.seen) == 6


async def test_an_api_key_that_was_replaced_meanwhile_is_used_at_once(
    stack: Stack, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/things", headers={"authorization": "Bearer new"}).respond_with_json(
        {"made": True}
    )
    httpserver.expect_request("/things").respond_with_json({}, status=401)
    url = httpserver.url_for("").rstrip("/")
    connection = await stack.connect(url, api_key="old")
    with pytest.raises(WorkflowFailureError):
        await call(stack, connection, POST)

    await stack.connect(url, api_key="new")

    assert await call(stack, connection, POST) == {"made": True}


async def test_a_run_waits_for_a_token_endpoint_that_is_down(
    stack: Stack, server: AuthorizationServer
) -> None:
    connection = await connect(stack, server, await server.tokens(lifetime=ENDED))
    await server.fail()

    handle = await start(stack, connection, ME)
    async with asyncio.timeout(20):
        while not (pending := (await handle.describe()).raw_description.pending_activities) or (
            pending[0].attempt < 3
        ):
            await asyncio.sleep(0.1)

    assert "could not be refreshed" in pending[0].last_failure.message
    await server.fail(times=0)
    assert (await handle.result())["output"] == {"sub": "user-1"}


async def test_a_write_waits_for_a_token_endpoint_that_is_down(
    stack: Stack, server: AuthorizationServer, httpserver: HTTPServer
) -> None:
    things = Things(httpserver, refuses=0)
    tokens = await server.tokens(lifetime=ENDED)
    connection = await connect(stack, server, tokens, apiUrl=things.url)
    await server.fail(times=2)

    assert await call(stack, connection, POST) == {"made": True}
    assert len(things.seen) == 1


@pytest.mark.parametrize("body", ["ME", "POST", "TOKEN", "CONNECTION", "PAGES"])
async def test_dead_credentials_fail_the_run_at_once(
    body: str, stack: Stack, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    connection = await connect(stack, server, tokens)
    await server.revoke(tokens)

    error = await failure_of(await start(stack, connection, globals()[body]))

    assert error["type"] == "invalid_credentials"
    assert "Authorize it anew" in error["message"]
    assert len(await server.refused()) == 1
    known = await stack.container.database.connections.by_key(connection.key)
    assert known.refresh_failure is not None
    assert known.refresh_failure["code"] == "invalid_grant"


async def test_the_application_is_told_of_dead_credentials(
    stack: Stack, server: AuthorizationServer, httpserver: HTTPServer
) -> None:
    receiver, container = Receiver(httpserver), stack.container
    await container.database.webhook_settings.change(
        stack.environment.id, {"primary_url": receiver.url}
    )
    tokens = await server.tokens(lifetime=ENDED)
    connection = await connect(stack, server, tokens)
    await server.revoke(tokens)
    await failure_of(await start(stack, connection, ME))

    # What each worker does every few seconds.
    sweep = WebhookSweep(
        container.database, WebhookDispatcher(container.temporal), starter_of(container)
    )
    await sweep.once()

    # A delivery may come twice, if its answer is lost; there is but one.
    (told,) = {one.delivery: one.payload for one in await receiver.until(1)}.values()
    error = told.pop("error")
    assert told == {
        "from": "nango",
        "type": "auth",
        "operation": "refresh",
        "connectionId": "acme",
        "authMode": "OAUTH2",
        "providerConfigKey": "tracker",
        "provider": "loopback-oauth",
        "environment": stack.environment.name,
        "success": False,
    }
    assert error["type"] == "invalid_grant"
    assert tokens["refresh_token"] not in str(error)


async def test_a_refusal_tells_why_the_token_could_not_be_renewed(
    stack: Stack, server: AuthorizationServer
) -> None:
    tokens = await server.tokens()
    connection = await connect(stack, server, tokens)
    await server.revoke(tokens)

    error = await failure_of(await start(stack, connection, ME))

    assert error["type"] == "script_http_error"
    assert "answered 401" in error["message"]
    assert "could not be refreshed" in error["message"]


async def test_a_script_gets_the_token_that_is_good_now(
    stack: Stack, server: AuthorizationServer
) -> None:
    connection = await connect(stack, server, await server.tokens(lifetime=ENDED))

    assert await call(stack, connection, SAME_TOKEN) == {"same": True, "refresh_token": False}
    assert await server.refreshes() == 1


async def test_a_script_may_insist_on_a_new_token(
    stack: Stack, server: AuthorizationServer
) -> None:
    connection = await connect(stack, server, await server.tokens())

    assert await call(stack, connection, NEW_TOKEN) == {"same": False, "refresh_token": True}
    assert await server.refreshes() == 1


async def test_no_token_stands_in_a_history(stack: Stack, server: AuthorizationServer) -> None:
    connection = await connect(stack, server, await server.tokens(lifetime=ENDED))
    handle = await start(stack, connection, NEW_TOKEN)
    await handle.result()

    stored = await stack.container.database.connections.credentials(connection)
    history = (await handle.fetch_history()).to_json()

    for name in ("access_token", "refresh_token"):
        assert stored[name] not in history
        assert base64.b64encode(stored[name].encode()).decode()[:-4] not in history


async def test_tokens_that_nobody_uses_are_kept_alive(
    stack: Stack, server: AuthorizationServer
) -> None:
    database, keeper = stack.container.database, stack.container.keeper
    idle = await connect(stack, server, await server.tokens(lifetime=ENDED), connection_id="idle")
    good = await connect(stack, server, await server.tokens(), connection_id="good")
    dead_tokens = await server.tokens(lifetime=ENDED)
    dead = await connect(stack, server, dead_tokens, connection_id="dead")
    await server.revoke(dead_tokens)
    before = {c.key: await database.connections.credentials(c) for c in (idle, good, dead)}
    step = CredentialActivities(database, keeper).refresh_idle_credentials

    young = await ActivityEnvironment().run(step, IdleCredentials())
    count = await ActivityEnvironment().run(step, IdleCredentials(age=0))

    assert young == 0
    assert count >= 1
    after = {c.key: await database.connections.credentials(c) for c in (idle, good, dead)}
    assert [before[c.key] != after[c.key] for c in (idle, good, dead)] == [True, False, False]
    assert (await database.connections.by_key(dead.key)).refresh_failure is not None
    assert await ActivityEnvironment().run(step, IdleCredentials(age=60)) == 0
