"""Calls of actions over REST: asynchronous, in order, once for each key, and disabled ones."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.clock import utcnow
from perdure.db.runs import RunStart, RunStatus
from perdure.ids import action_workflow_id, keyed_action_id
from perdure.records.canonical import canonical_hash
from perdure.temporal.client import register_search_attributes
from tests.api.calls import client_of, connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

POSTS = """
async def run_action(nango, input):
    answer = await nango.post(endpoint="/orders", data=input)
    return {"order": answer.data}
"""

ASYNC = {"x-async": "true"}


class Orders:
    """A provider that counts what it is asked for."""

    def __init__(self, source: Source) -> None:
        self.asked: list[Any] = []
        self.before: Callable[[Any], Response | None] = lambda _: None
        self._lock = threading.Lock()
        self.running = Counter[str]()
        self.most = Counter[str]()
        source.server.expect_request("/orders", method="POST").respond_with_handler(self._order)

    def hold_until(self, event: threading.Event) -> None:
        def hold(_: Any) -> None:
            event.wait(30)

        self.before = hold

    def _order(self, request: Request) -> Response:
        order = request.get_json()
        who = request.headers.get("authorization", "")
        with self._lock:
            self.asked.append(order)
            for name in (who, "all"):
                self.running[name] += 1
                self.most[name] = max(self.most[name], self.running[name])
        try:
            refusal = self.before(order)
        finally:
            with self._lock:
                self.running.subtract([who, "all"])
        return refusal or Response(f'{{"n": {len(self.asked)}}}', 200, mimetype="application/json")


@pytest.fixture
def source() -> Iterator[Source]:
    """An API that answers several requests at a time."""
    with HTTPServer(threaded=True) as server:
        yield Source(server, [])


@pytest.fixture
def orders(source: Source) -> Orders:
    return Orders(source)


async def call(
    client: httpx.AsyncClient, value: Any = None, connection_id: str = "acme", **headers: str
) -> httpx.Response:
    named = {"connection-id": connection_id, "provider-config-key": "tracker"}
    named |= {name.replace("_", "-"): text for name, text in headers.items()}
    body = {"action_name": "echo", "input": value}
    return await client.post("/action/trigger", json=body, headers=named)


async def ended(client: httpx.AsyncClient, action_id: str, seconds: float = 30) -> httpx.Response:
    async with asyncio.timeout(seconds):
        while True:
            answer = await client.get(f"/action/{action_id}")
            if answer.status_code != 404:
                return answer
            assert answer.json()["error"]["payload"] == {"status": "running"}
            await asyncio.sleep(0.05)


async def with_action(client: httpx.AsyncClient, source: Source, script: str) -> None:
    await deploy(client, project(action=script))
    await connect(client, source.url)


async def test_action_that_was_waited_for_can_be_asked_for_by_its_id(
    connected: httpx.AsyncClient,
) -> None:
    answer = await call(connected, {"text": "hej"})
    action_id = answer.headers["x-action-id"]

    again = await connected.get(f"/action/{action_id}")

    assert (again.status_code, again.json()) == (200, {"text": "hej"})
    (run,) = (await connected.get("/runs?kind=action")).json()["runs"]
    assert run["action_id"] == action_id


async def test_asynchronous_action_is_accepted_and_its_result_found(
    connected: httpx.AsyncClient,
) -> None:
    answer = await call(connected, {"text": "later"}, **ASYNC)

    assert answer.status_code == 202
    action_id = answer.json()["id"]
    assert answer.json() == {"id": action_id, "statusUrl": f"/action/{action_id}"}
    assert answer.headers["location"] == f"/action/{action_id}"
    result = await ended(connected, action_id)
    assert (result.status_code, result.json()) == (200, {"text": "later"})
    (run,) = (await connected.get("/runs?kind=action")).json()["runs"]
    assert (run["status"], run["action_id"]) == ("success", action_id)


async def test_result_of_an_action_that_returns_nothing_is_null(
    live: httpx.AsyncClient, source: Source
) -> None:
    await with_action(live, source, "async def run_action(nango, input):\n    return None\n")
    answer = await ended(live, (await call(live, **ASYNC)).json()["id"])
    assert (answer.status_code, answer.json()) == (200, None)


async def test_failure_of_an_asynchronous_action_is_told_as_to_one_who_waits(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    orders.before = lambda _: Response('{"reason": "no"}', 422, mimetype="application/json")
    await with_action(live, source, POSTS)

    answer = await ended(live, (await call(live, {"n": 1}, **ASYNC)).json()["id"])

    assert error_of(answer) == (424, "script_http_error")
    assert answer.json()["error"]["upstream"]["status"] == 422
    assert len(orders.asked) == 1


async def test_unknown_actions_are_not_found(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get(f"/action/{uuid.uuid4()}")) == (404, "not_found")
    assert error_of(await api.get("/action/no-uuid")) == (400, "invalid_uri_params")


async def test_actions_of_another_environment_are_not_found(
    app: FastAPI, connected: httpx.AsyncClient, container: Container
) -> None:
    action_id = (await call(connected, {"text": "x"})).headers["x-action-id"]
    other = await Stack.create(container)
    async with client_of(app, other.secret_key) as client:
        assert error_of(await client.get(f"/action/{action_id}")) == (404, "not_found")


async def test_script_is_run_again_as_often_as_its_caller_allows(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    refusals = [Response("no", 409), Response("no", 409)]
    orders.before = lambda _: refusals.pop() if refusals else None
    await with_action(live, source, POSTS)

    answer = await call(live, {"n": 1}, **ASYNC, x_max_retries="2")

    result = await ended(live, answer.json()["id"])
    assert (result.status_code, result.json()) == (200, {"order": {"n": 3}})


async def test_retries_are_over_after_as_many_as_were_allowed(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    orders.before = lambda _: Response("no", 409)
    await with_action(live, source, POSTS)

    answer = await call(live, {"n": 1}, **ASYNC, x_max_retries="1")

    assert error_of(await ended(live, answer.json()["id"])) == (424, "script_http_error")
    assert len(orders.asked) == 2


@pytest.mark.parametrize("retries", ["-1", "6", "x"])
async def test_number_of_retries_is_checked(connected: httpx.AsyncClient, retries: str) -> None:
    answer = await call(connected, **ASYNC, x_max_retries=retries)
    assert error_of(answer) == (400, "invalid_headers")


async def test_order_is_for_those_that_nobody_waits_for(connected: httpx.AsyncClient) -> None:
    assert error_of(await call(connected, x_ordered="true")) == (400, "invalid_headers")


async def test_call_with_the_same_key_is_one_run_with_one_result(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    await with_action(live, source, POSTS)

    together = await asyncio.gather(
        *(call(live, {"a": 1, "b": 2}, idempotency_key="order-1") for _ in range(5))
    )
    later = await call(live, {"b": 2, "a": 1}, idempotency_key="order-1")
    unwaited = await call(live, {"a": 1, "b": 2}, idempotency_key="order-1", **ASYNC)

    assert {answer.text for answer in [*together, later]} == {'{"order":{"n":1}}'}
    assert len(orders.asked) == 1
    assert unwaited.json()["id"] == later.headers["x-action-id"]
    (run,) = (await live.get("/runs?kind=action")).json()["runs"]
    assert run["status"] == "success"


async def test_call_with_the_key_of_a_failed_one_fails_alike(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    orders.before = lambda _: Response("no", 422)
    await with_action(live, source, POSTS)

    first = await call(live, {"n": 1}, idempotency_key="k")
    second = await call(live, {"n": 1}, idempotency_key="k")

    assert error_of(first) == error_of(second) == (424, "script_http_error")
    assert first.headers["x-action-id"] == second.headers["x-action-id"]
    assert len(orders.asked) == 1


async def test_key_of_a_call_with_another_input_is_refused(connected: httpx.AsyncClient) -> None:
    await call(connected, {"text": "a"}, idempotency_key="k")
    answer = await call(connected, {"text": "b"}, idempotency_key="k")
    assert error_of(answer) == (409, "idempotency_key_reused")


async def test_call_of_an_action_that_there_is_not_leaves_its_key_free(
    connected: httpx.AsyncClient,
) -> None:
    wrong = {"action_name": "ecco", "input": {"text": "a"}}
    named = {"connection-id": "acme", "provider-config-key": "tracker", "idempotency-key": "k"}
    answer = await connected.post("/action/trigger", json=wrong, headers=named)
    assert error_of(answer) == (404, "not_found")

    assert (await call(connected, {"text": "a"}, idempotency_key="k")).json() == {"text": "a"}


async def test_key_of_another_connection_is_another_call(
    connected: httpx.AsyncClient, source: Source
) -> None:
    await connect(connected, source.url, "other")
    first = await call(connected, {"text": "a"}, idempotency_key="k")
    second = await call(connected, {"text": "b"}, "other", idempotency_key="k")
    assert (first.json(), second.json()) == ({"text": "a"}, {"text": "b"})


async def test_key_is_known_when_temporal_has_forgotten_its_run(
    connected: httpx.AsyncClient, stack: Stack
) -> None:
    database, environment = stack.container.database, stack.environment
    action_id = keyed_action_id("tracker", "acme", "k")
    fingerprint = canonical_hash(["echo", {"text": "a"}])
    await database.actions.claim_key(environment.id, action_id, fingerprint)
    workflow_id = action_workflow_id(environment.name, str(action_id))
    await database.runs.start(
        RunStart(
            id=str(uuid.uuid4()),
            workflow_id=workflow_id,
            environment_id=environment.id,
            kind="action",
            script="echo",
            started_at=utcnow(),
        )
    )
    run = await database.runs.of_workflow(workflow_id)
    assert run is not None
    await database.runs.finish(run.id, RunStatus.SUCCESS, finished_at=utcnow())

    again = await call(connected, {"text": "a"}, idempotency_key="k")

    assert error_of(again) == (410, "action_result_gone")
    assert error_of(await connected.get(f"/action/{action_id}")) == (410, "action_result_gone")


async def test_disabled_action_is_refused_until_it_is_enabled(connected: httpx.AsyncClient) -> None:
    echo = {"provider_config_key": "tracker", "action_name": "echo"}
    assert (await connected.post("/action/disable", json=echo)).json() == {"success": True}

    assert error_of(await call(connected, {"text": "x"})) == (404, "disabled_resource")
    assert error_of(await call(connected, {"text": "x"}, **ASYNC)) == (404, "disabled_resource")

    await connected.post("/action/enable", json=echo)
    assert (await call(connected, {"text": "x"})).json() == {"text": "x"}


async def test_only_actions_that_exist_can_be_disabled(connected: httpx.AsyncClient) -> None:
    body = {"provider_config_key": "tracker", "action_name": "nothing"}
    assert error_of(await connected.post("/action/disable", json=body)) == (404, "not_found")


async def test_output_that_is_too_large_is_refused(live: httpx.AsyncClient, source: Source) -> None:
    script = "async def run_action(nango, input):\n    return 'x' * input\n"
    await with_action(live, source, script)

    assert (await call(live, 2 * 1024 * 1024 - 2)).status_code == 200
    answer = await call(live, 2 * 1024 * 1024)

    assert error_of(answer) == (500, "output_too_large")
    assert answer.headers["x-action-id"]


async def test_limits_hold_for_the_environment_and_for_each_connection(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    go_on = threading.Event()
    orders.hold_until(go_on)
    await with_action(live, source, POSTS)
    await connect(live, source.url, "other")
    limits = {"action_limit": 3, "connection_action_limit": 2}
    shown = (await live.patch("/environment", json=limits)).json()
    assert {name: shown[name] for name in limits} == limits

    started = [
        (await call(live, {"n": n}, who, **ASYNC)).json()["id"]
        for n in range(5)
        for who in ("acme", "other")
    ]
    async with asyncio.timeout(30):
        while orders.running["all"] < 3:
            await asyncio.sleep(0.05)
    go_on.set()

    for action_id in started:
        assert (await ended(live, action_id)).status_code == 200
    assert len(orders.asked) == 10
    assert orders.most["all"] == 3
    assert max(count for who, count in orders.most.items() if who != "all") == 2


async def test_limit_that_is_raised_counts_for_those_that_wait(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    go_on = threading.Event()
    orders.hold_until(go_on)
    await with_action(live, source, POSTS)
    await live.patch("/environment", json={"action_limit": 1})
    started = [(await call(live, {"n": n}, **ASYNC)).json()["id"] for n in range(3)]

    await live.patch("/environment", json={"action_limit": 3})
    async with asyncio.timeout(10):
        while orders.running["all"] < 3:
            await asyncio.sleep(0.05)

    go_on.set()
    for action_id in started:
        await ended(live, action_id)


async def test_ordered_actions_of_a_connection_run_one_after_the_other(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    await with_action(live, source, POSTS)
    started = [
        (await call(live, {"n": n}, **ASYNC, x_ordered="true")).json()["id"] for n in range(12)
    ]
    for action_id in started:
        await ended(live, action_id)
    assert [order["n"] for order in orders.asked] == list(range(12))
    assert orders.most["all"] == 1


@pytest.fixture
async def unattended(settings: Settings) -> AsyncIterator[Stack]:
    """A stack of whose actions no worker begins any."""
    async with open_container(await namespaced(settings), name="unattended") as container:
        await register_search_attributes(container.temporal)
        yield await Stack.create(container)


async def test_ordered_action_whose_api_died_has_its_place_once_it_is_called_again(
    unattended: Stack, source: Source
) -> None:
    await unattended.deploy(project())
    await unattended.connect(source.url)
    pool, name = unattended.container.database.pool, unattended.environment.name
    async with client_of(create_app(unattended.container), unattended.secret_key) as client:
        first = await call(client, 1, **ASYNC, x_ordered="true", idempotency_key="k")
        # As it stands where the API dies once the action is started.
        assert (
            await pool.execute(
                "DELETE FROM action_queue WHERE environment_id = $1", unattended.environment.id
            )
            == "DELETE 1"
        )
        again = await call(client, 1, **ASYNC, x_ordered="true", idempotency_key="k")
        second = await call(client, 2, **ASYNC, x_ordered="true")

    assert again.json() == first.json()
    places = await pool.fetch(
        "SELECT workflow_id FROM action_queue WHERE environment_id = $1 ORDER BY place",
        unattended.environment.id,
    )
    assert [row["workflow_id"] for row in places] == [
        action_workflow_id(name, answer.json()["id"]) for answer in (first, second)
    ]


async def test_action_that_failed_or_was_cancelled_passes_its_turn_on(
    live: httpx.AsyncClient, source: Source
) -> None:
    script = """
        import asyncio

        async def run_action(nango, input):
            if input == "fail":
                raise ValueError("as asked")
            if input == "hang":
                await asyncio.sleep(3600)
            return input
        """
    await with_action(live, source, script)
    started = {
        value: (await call(live, value, **ASYNC, x_ordered="true")).json()["id"]
        for value in ("fail", "hang", "last")
    }
    assert error_of(await ended(live, started["fail"])) == (500, "script_internal_error")
    async with asyncio.timeout(30):
        while True:
            runs = (await live.get("/runs?kind=action&status=running")).json()["runs"]
            hanging = [run for run in runs if run["action_id"] == started["hang"]]
            if hanging:
                break
            await asyncio.sleep(0.05)
    await live.post(f"/runs/{hanging[0]['id']}/cancel")

    assert (await ended(live, started["last"])).json() == "last"
    assert error_of(await ended(live, started["hang"])) == (500, "run_cancelled")


async def test_action_that_is_retried_has_another_outcome(
    live: httpx.AsyncClient, source: Source, orders: Orders
) -> None:
    orders.before = lambda _: Response("no", 422)
    await with_action(live, source, POSTS)
    action_id = (await call(live, {"n": 1}, **ASYNC, idempotency_key="k")).json()["id"]
    assert error_of(await ended(live, action_id)) == (424, "script_http_error")
    (run,) = (await live.get("/runs?kind=action")).json()["runs"]

    orders.before = lambda _: None
    assert (await live.post(f"/runs/{run['id']}/retry")).status_code == 200

    answer = await ended(live, action_id)
    assert (answer.status_code, answer.json()) == (200, {"order": {"n": 2}})
    again = await call(live, {"n": 1}, idempotency_key="k")
    assert again.json() == {"order": {"n": 2}}
