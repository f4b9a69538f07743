"""Several keys for an environment: what each may do, until when, and what is kept of it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from api import records_door
from api.app import _with_endpoints, create_app
from api.permission import check_permission, rule_of
from api.routers import records
from api.scopes import RULES, SCOPES
from perdure.app.container import Container
from perdure.clock import utcnow
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack

KEYS = "/environment/api-keys"
Scoped = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def scoped(app: FastAPI, api: httpx.AsyncClient) -> AsyncIterator[Scoped]:
    """Makes a client whose key has some scopes."""
    async with AsyncExitStack() as stack:

        async def make(*scopes: str, name: str = "scoped") -> httpx.AsyncClient:
            key = (await create(api, *scopes, name=name))["api_key"]
            return await stack.enter_async_context(client_of(app, key))

        yield make


async def create(api: httpx.AsyncClient, *scopes: str, name: str = "scoped") -> dict:
    answer = await api.post(KEYS, json={"name": name, "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def connect(api: httpx.AsyncClient) -> None:
    await api.post(
        "/integrations",
        json={
            "provider": "generic-api-key",
            "unique_key": "tracker",
            "credentials": {"webhook_secret": "hush-hush-client"},
        },
    )
    answer = await api.post(
        "/connections",
        json={
            "provider_config_key": "tracker",
            "connection_id": "acme",
            "credentials": {"type": "API_KEY", "api_key": "hush-hush-connection"},
        },
    )
    assert answer.status_code == 200, answer.text


def every_operation(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ("*",)
    }


async def test_every_endpoint_has_a_rule_and_every_rule_an_endpoint(app: FastAPI) -> None:
    found = every_operation(app)

    without = {one for one in found if one not in RULES and ("*", one[1]) not in RULES}
    assert without - {("HEAD", path) for _, path in found} == set()
    paths = {path for _, path in found}
    assert {rule for rule in RULES if rule not in found and rule[0] != "*"} == set()
    assert {path for method, path in RULES if method == "*"} <= paths


async def test_every_scope_of_a_rule_is_one() -> None:
    assert {scope for rule in RULES.values() for scope in rule.scopes or ()} <= set(SCOPES)


async def test_a_key_without_the_scope_is_refused_by_every_endpoint(
    app: FastAPI, api: httpx.AsyncClient, scoped: Scoped
) -> None:
    # It can do nothing that any endpoint asks for.
    poor = await scoped("environment:connections:list_credentials")

    for method, path in every_operation(app):
        rule = rule_of(method, path)
        if not rule.scopes or method == "*":
            continue
        filled = path.replace(":path}", "}")
        answer = await poor.request(method, filled, json={})
        if method == "HEAD":
            assert answer.status_code == 403, path
            continue
        assert error_of(answer) == (403, "forbidden"), (method, path)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_key_without_the_scope_reads_no_records(
    environment: Stack, api: httpx.AsyncClient, scoped: Scoped, method: str
) -> None:
    # A valid request goes another way than those without what the endpoint needs.
    await environment.connect("http://127.0.0.1:1")
    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    poor = await scoped("environment:runs:read", "environment:records:write")

    refused = await poor.request(method, "/records?model=Issue", headers=named)
    answer = await api.request(method, "/records?model=Issue", headers=named)

    assert (refused.status_code, answer.status_code) == (403, 200)


async def test_the_door_for_records_passes_by_nothing_that_it_does_not_do_itself() -> None:
    assert [each.dependency for each in _with_endpoints().router.dependencies] == [check_permission]
    assert records.router.dependencies == []
    (route,) = [
        each
        for each in records.router.routes
        if isinstance(each, APIRoute) and each.endpoint is records.list_records
    ]
    assert (route.path, route.methods, route.dependencies) == (records_door._PATH, {"GET"}, [])
    taken = ["deps", "caller", "connection_id", "integration", "query"]
    assert list(inspect.signature(records.list_records).parameters) == taken


async def test_a_key_opens_what_its_scopes_name(scoped: Scoped) -> None:
    key = await scoped("environment:integrations:list", "environment:runs:*")

    assert (await key.get("/integrations")).status_code == 200
    assert (await key.get("/runs")).status_code == 200
    refused = await key.get("/connections")
    assert error_of(refused) == (403, "forbidden")
    assert "environment:connections:list" in refused.json()["error"]["message"]


async def test_an_endpoint_without_a_rule_is_closed_to_keys_with_scopes(
    own_app: FastAPI, api: httpx.AsyncClient, environment: Stack
) -> None:
    own_app.router.add_api_route("/forgotten", lambda: {"open": True})
    made = await create(api, "environment:*", "account:*")

    async with (
        client_of(own_app, made["api_key"]) as key,
        client_of(own_app, environment.secret_key) as everything,
    ):
        assert error_of(await key.get("/forgotten")) == (403, "forbidden")
        assert (await everything.get("/forgotten")).status_code == 200


async def test_language_models_need_their_scope(scoped: Scoped) -> None:
    key = await scoped("environment:actions:*")

    assert error_of(await key.post("/mcp", json={})) == (403, "forbidden")


async def test_credentials_are_left_out_for_keys_that_may_not_read_them(
    live: httpx.AsyncClient, app: FastAPI
) -> None:
    await connect(live)
    path = "/connections/acme?provider_config_key=tracker"
    blind = (await create(live, "environment:connections:read", name="blind"))["api_key"]
    seeing = (await create(live, "environment:connections:*", name="seeing"))["api_key"]

    async with client_of(app, blind) as client:
        hidden = await client.get(path)
    async with client_of(app, seeing) as client:
        shown = await client.get(path)

    assert hidden.status_code == 200
    assert hidden.json()["credentials"] == {"type": "API_KEY"}
    assert "hush-hush" not in hidden.text
    assert "hush-hush-connection" in shown.text


async def test_client_credentials_need_a_scope_of_their_own(
    live: httpx.AsyncClient, app: FastAPI
) -> None:
    await connect(live)
    key = (await create(live, "environment:integrations:read"))["api_key"]

    async with client_of(app, key) as client:
        assert (await client.get("/integrations/tracker")).status_code == 200
        answer = await client.get("/integrations/tracker?include=credentials")

    assert error_of(answer) == (403, "forbidden")
    assert "hush-hush-client" in (await live.get("/integrations/tracker?include=credentials")).text


async def test_a_key_is_shown_once_and_kept_as_a_hash(
    container: Container, api: httpx.AsyncClient
) -> None:
    made = await create(api, "environment:records:read", name="warehouse")

    listed = await api.get(KEYS)
    assert made["api_key"] not in listed.text
    assert listed.json()["data"] == [{k: v for k, v in made.items() if k != "api_key"}]
    assert made["ending"] == made["api_key"][-4:]
    row = await container.database.pool.fetchval(
        "SELECT k::text FROM api_keys k WHERE id = $1", made["id"]
    )
    assert made["api_key"] not in row
    assert made["api_key"].encode().hex() not in row


async def test_a_revoked_key_opens_nothing_at_once_and_its_name_is_free_again(
    app: FastAPI, api: httpx.AsyncClient
) -> None:
    made = await create(api, "environment:runs:read", name="ci")
    async with client_of(app, made["api_key"]) as client:
        assert (await client.get("/runs")).status_code == 200
        assert (await api.delete(f"{KEYS}/{made['id']}")).json() == {"success": True}

        assert error_of(await client.get("/runs")) == (401, "unknown_account")

    assert error_of(await api.delete(f"{KEYS}/{made['id']}")) == (404, "unknown_api_key")
    assert (await api.get(KEYS)).json() == {"data": []}
    assert [key["id"] for key in (await api.get(f"{KEYS}?revoked=true")).json()["data"]] == [
        made["id"]
    ]
    await create(api, "environment:runs:read", name="ci")


async def test_another_process_knows_of_the_revocation_within_a_second(
    container: Container, api: httpx.AsyncClient
) -> None:
    made = await create(api, "environment:runs:read")
    async with client_of(create_app(container), made["api_key"]) as other:
        assert (await other.get("/runs")).status_code == 200
        await api.delete(f"{KEYS}/{made['id']}")
        revoked = asyncio.get_running_loop().time()

        asked = revoked
        while (await other.get("/runs")).status_code == 200:
            assert asked - revoked < 1.5
            await asyncio.sleep(0.05)
            asked = asyncio.get_running_loop().time()


async def test_a_key_opens_nothing_after_its_day(app: FastAPI, api: httpx.AsyncClient) -> None:
    past = (utcnow() - timedelta(seconds=1)).isoformat()
    body = {"name": "old", "scopes": ["environment:*"], "expires_at": past}
    made = (await api.post(KEYS, json=body)).json()

    async with client_of(app, made["api_key"]) as client:
        assert error_of(await client.get("/runs")) == (401, "unknown_account")


async def test_use_is_noted(app: FastAPI, api: httpx.AsyncClient) -> None:
    made = await create(api, "environment:runs:read")
    assert made["last_used_at"] is None
    async with client_of(app, made["api_key"]) as client:
        await client.get("/runs")

    assert (await api.get(KEYS)).json()["data"][0]["last_used_at"] is not None


async def test_no_key_hands_on_more_than_it_has(api: httpx.AsyncClient, scoped: Scoped) -> None:
    maker = await scoped("environment:api_keys:create", "environment:records:*")

    async def asked(*scopes: str) -> int:
        answer = await maker.post(KEYS, json={"name": f"k{scopes}", "scopes": list(scopes)})
        return answer.status_code

    assert await asked("environment:records:read") == 201
    assert await asked("environment:records:*") == 201
    assert await asked("environment:connections:read") == 403
    assert await asked("environment:*") == 403
    assert await asked("*") == 403
    assert await asked("account:*") == 403


@pytest.mark.parametrize(
    "body",
    [
        {"name": "k", "scopes": []},
        {"name": "k", "scopes": ["environment:everything"]},
        {"name": "", "scopes": ["*"]},
        {"name": "k"},
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(api: httpx.AsyncClient, body: dict) -> None:
    assert error_of(await api.post(KEYS, json=body)) == (400, "invalid_body")


async def test_two_keys_cannot_have_one_name(api: httpx.AsyncClient) -> None:
    await create(api, "*", name="twin")

    answer = await api.post(KEYS, json={"name": "twin", "scopes": ["*"]})

    assert error_of(answer) == (409, "api_key_already_exists")


async def test_keys_of_another_environment_are_out_of_reach(
    container: Container, app: FastAPI, api: httpx.AsyncClient
) -> None:
    made = await create(api, "environment:*")
    other = await Stack.create(container)

    async with client_of(app, other.secret_key) as stranger:
        assert (await stranger.get(KEYS)).json() == {"data": []}
        answer = await stranger.delete(f"{KEYS}/{made['id']}")

    assert error_of(answer) == (404, "unknown_api_key")


async def test_a_key_that_was_known_a_moment_ago_costs_no_query(
    app: FastAPI, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.get("/environment/api-keys")
    looked_up = 0

    async def count(_: object, key: str) -> None:
        nonlocal looked_up
        looked_up += 1

    monkeypatch.setattr(type(app.state.dependencies.database.api_keys), "open", count)
    assert (await api.get("/environment/api-keys")).status_code == 200
    assert looked_up == 0


async def test_a_key_that_is_no_uuid_is_refused_unread(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/runs", headers={"authorization": "Bearer hunter2"})

    assert error_of(answer) == (401, "invalid_secret_key_format")


async def test_requests_are_limited_by_key_where_that_is_set(
    container: Container, environment: Stack
) -> None:
    settings = container.settings.model_copy(update={"requests_per_minute": 3})
    app = create_app(replace(container, settings=settings))
    other = await Stack.create(container)
    async with client_of(app, environment.secret_key) as client:
        answers = [await client.get("/environment") for _ in range(4)]
        # A refused request does not reach its endpoint, whatever that is.
        unknown = await client.get("/nowhere")
    async with client_of(app, other.secret_key) as client:
        untouched = await client.get("/environment")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert error_of_limit(answers[3]) == {"method": "GET", "path": "/environment"}
    assert int(answers[3].headers["retry-after"]) > 0
    assert unknown.status_code == 429
    assert untouched.status_code == 200


async def test_refused_requests_tell_how_many_are_left(
    container: Container, environment: Stack
) -> None:
    settings = container.settings.model_copy(update={"requests_per_minute": 3})
    named = {"connection-id": "nobody", "provider-config-key": "tracker"}
    async with client_of(
        create_app(replace(container, settings=settings)), environment.secret_key
    ) as client:
        unknown = await client.get("/records?model=Issue", headers=named)
        invalid = await client.get("/records", headers=named)

    assert error_of(unknown) == (400, "unknown_provider_config")
    assert error_of(invalid) == (400, "invalid_query_params")
    left = [answer.headers["x-ratelimit-remaining"] for answer in (unknown, invalid)]
    assert left == ["2", "1"]


def error_of_limit(answer: httpx.Response) -> dict:
    error = answer.json()["error"]
    assert error.pop("code") == "too_many_request"
    assert error.pop("message")
    return error


async def test_requests_are_not_limited_by_default(api: httpx.AsyncClient) -> None:
    assert "x-ratelimit-limit" not in (await api.get("/environment")).headers
