"""What holds for every request: key, envelope, limits, request id, log, description."""

from __future__ import annotations

import socket
import time
import uuid
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from structlog.testing import capture_logs
from temporalio.client import Client

import perdure.db.schema_state
from api.app import api_document, create_app
from config.nango_schema import nango_schema_json
from perdure.app.container import Container
from perdure.embedded.ports import choose_ports
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack


def operations(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method, route.path_format)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }


async def test_every_path_but_health_and_the_page_needs_a_key(
    app: FastAPI, stranger: httpx.AsyncClient
) -> None:
    found = operations(app)
    assert {("POST", "/action/trigger"), ("GET", "/records"), ("GET", "/openapi.json")} <= found
    provider = "/webhook/{environment}/{provider_config_key}"
    is_open = {
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/ready"),
        ("GET", "/codec"),
        ("POST", "/codec/session"),
        ("GET", "/docs/{environment}"),
        ("GET", "/docs/assets/{name}"),
        ("GET", "/nango.schema.json"),
        ("POST", provider),
        ("HEAD", provider),
    }
    # Pages for end users, who have a session; their own tests hold them to that.
    is_open |= {
        ("GET", "/connect"),
        ("GET", "/connect/assets/{name}"),
        ("GET", "/connect/integrations/{unique_key}"),
        ("POST", "/connect/integrations/{unique_key}"),
        ("POST", "/connect/telemetry"),
        ("GET", "/oauth/connect/{unique_key}"),
        ("GET", "/oauth/callback"),
        ("GET", "/app-auth/connect"),
    }
    # The way to the dashboard, which asks for a key itself.
    paths = ("/", "/dashboard", "/favicon.ico")
    is_open |= {(method, path) for method in ("GET", "HEAD") for path in paths}
    assert is_open < found
    for method, path in found - is_open:
        answer = await stranger.request(method, path, json={})
        if method == "HEAD":
            assert answer.status_code == 401, path
            continue
        assert error_of(answer) == (401, "missing_auth_header"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic abc", "abc"])
async def test_malformed_authorization_counts_as_missing(
    stranger: httpx.AsyncClient, header: str
) -> None:
    answer = await stranger.get("/runs", headers={"authorization": header})
    assert error_of(answer) == (401, "missing_auth_header")


async def test_unknown_key_is_refused(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/runs", headers={"authorization": f"Bearer {uuid.uuid4()}"})
    assert error_of(answer) == (401, "unknown_account")


async def test_key_opens_its_own_environment_only(
    container: Container, app: FastAPI, api: httpx.AsyncClient
) -> None:
    new = {"provider": "stripe-api-key", "unique_key": "stripe"}
    await api.post("/integrations", json=new)
    other = await Stack.create(container)

    async with client_of(app, other.secret_key) as client:
        assert (await client.get("/integrations")).json() == {"data": []}


async def test_path_and_method_that_do_not_exist_are_answered_in_the_envelope(
    api: httpx.AsyncClient,
) -> None:
    assert error_of(await api.get("/nowhere")) == (404, "not_found")
    assert error_of(await api.delete("/runs")) == (405, "method_not_allowed")


async def test_body_that_is_not_json_is_refused_clearly(api: httpx.AsyncClient) -> None:
    broken = await api.post(
        "/integrations", content=b"{", headers={"content-type": "application/json"}
    )
    assert error_of(broken) == (400, "invalid_body")
    form = await api.post("/integrations", data={"provider": "stripe-api-key"})
    assert error_of(form) == (400, "invalid_content_type")


async def test_every_field_that_is_wrong_is_named_and_no_value_repeated(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.post(
        "/integrations", json={"unique_key": "a?secret", "provdier": "stripe-api-key"}
    )

    assert error_of(answer) == (400, "invalid_body")
    errors = answer.json()["error"]["errors"]
    assert {tuple(error["path"]) for error in errors} == {
        ("provider",),
        ("unique_key",),
        ("provdier",),
    }
    assert "secret" not in answer.text


async def test_each_part_of_a_request_has_its_code(api: httpx.AsyncClient) -> None:
    named = {"connection-id": "a", "provider-config-key": "b"}
    assert error_of(await api.get("/records?model=A")) == (400, "invalid_headers")
    assert error_of(await api.get("/records", headers=named)) == (400, "invalid_query_params")
    assert error_of(await api.get("/runs?limit=0")) == (400, "invalid_query_params")
    assert error_of(await api.post("/action/trigger", headers=named, json={})) == (
        400,
        "invalid_body",
    )
    assert error_of(await api.get("/connections/?provider_config_key=a")) == (
        400,
        "invalid_uri_params",
    )


async def test_body_that_is_too_large_is_refused(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, container: Container
) -> None:
    monkeypatch.setattr("api.app._MAX_BODY_BYTES", 1000)
    small = create_app(container)
    key = api.headers["authorization"].removeprefix("Bearer ")

    async def chunks():
        for _ in range(20):
            yield b" " * 100

    async with client_of(small, key) as client:
        as_json = {"content-type": "application/json"}
        announced = await client.post("/integrations", content=b" " * 1001, headers=as_json)
        streamed = await client.post("/integrations", content=chunks(), headers=as_json)
    assert error_of(announced) == (400, "request_too_large")
    assert error_of(streamed) == (400, "request_too_large")


@pytest.mark.parametrize(
    ("broken", "path"), [("integrations", "/integrations"), ("records", "/records?model=Issue")]
)
async def test_unexpected_error_is_logged_once_and_shows_nothing_of_our_insides(
    container: Container, environment: Stack, broken: str, path: str
) -> None:
    class Broken:
        async def list(self, *_: object, **__: object) -> None:
            raise ValueError("password=hunter2")

    database = replace(container.database, **{broken: Broken()})
    app = create_app(replace(container, database=database))
    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    async with client_of(app, environment.secret_key) as client:
        with capture_logs() as logs:
            answer = await client.get(path, headers=named)

    assert error_of(answer) == (500, "server_error")
    assert "hunter2" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert [line["event"] for line in logs] == ["request_failed", "request"]
    assert isinstance(logs[0]["exc_info"], ValueError)


async def test_database_that_is_away_is_answered_with_503(
    container: Container, environment: Stack
) -> None:
    from perdure.errors import UnavailableError

    class Away:
        async def open(self, _: str) -> None:
            raise UnavailableError("Postgres is away", code="database_unavailable")

        async def missing_revisions(self) -> list[str]:
            raise UnavailableError("Postgres is away", code="database_unavailable")

    unused = SimpleNamespace(take_results=None)
    away = Away()
    database = SimpleNamespace(
        api_keys=away,
        audit=None,
        connect_sessions=unused,
        missing_revisions=away.missing_revisions,
    )
    app = create_app(replace(container, database=database))
    async with client_of(app, environment.secret_key) as client:
        answer = await client.get("/runs")
        health = await client.get("/health")
        ready = await client.get("/health/ready")
        live = await client.get("/health/live")
    assert error_of(answer) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert health.status_code == 503
    assert health.json()["database"] == "unavailable"
    assert (ready.status_code, live.status_code) == (503, 200)


async def test_process_without_temporal_takes_requests_and_says_what_it_lacks(
    container: Container, stranger: httpx.AsyncClient
) -> None:
    nowhere = f"127.0.0.1:{choose_ports({'x': 0})['x']}"
    away = await Client.connect(nowhere, lazy=True)
    async with client_of(create_app(replace(container, temporal=away)), None) as client:
        ready = await client.get("/health/ready")
        all_of_it = await client.get("/ready")

    assert (ready.status_code, all_of_it.status_code) == (200, 503)
    assert (ready.json()["status"], ready.json()["temporal"]) == ("degraded", "unavailable")
    assert (await stranger.get("/ready")).status_code == 200


async def test_readiness_does_not_wait_for_a_temporal_that_is_silent(container: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        hung = await Client.connect(address, lazy=True)
        async with client_of(create_app(replace(container, temporal=hung)), None) as client:
            await client.get("/health/live")  # the first request prepares the routes
            began = time.monotonic()
            ready = await client.get("/health/ready")
            took = time.monotonic() - began

    assert (ready.status_code, ready.json()["temporal"]) == (200, "unavailable")
    # It waits for half a second, since probes wait for one; others wait for Temporal for two.
    assert took < 1.9


async def test_process_whose_database_lacks_revisions_takes_no_requests(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = perdure.db.schema_state._needed()
    monkeypatch.setattr(perdure.db.schema_state, "_needed", lambda: (*needed, "9999"))
    async with client_of(create_app(container), None) as client:
        ready = await client.get("/health/ready")

    assert (ready.status_code, ready.json()["database"]) == (503, "behind")


async def test_process_that_is_to_stop_takes_no_requests(container: Container) -> None:
    app = create_app(container)
    app.state.draining = True
    async with client_of(app, None) as client:
        ready = await client.get("/health/ready")
        live = await client.get("/health/live")

    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
    assert live.status_code == 200


async def test_access_log_has_no_query_and_no_key(api: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await api.get("/records?model=secret-model", headers={"x-request-id": "req-1"})

    (line,) = logs
    assert line | {"duration_ms": 0} == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/records",
        "status": 400,
        "error": "invalid_headers",
        "duration_ms": 0,
    }


async def test_request_id_is_taken_over_unless_it_is_odd(api: httpx.AsyncClient) -> None:
    given = await api.get("/runs", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    odd = await api.get("/runs", headers={"x-request-id": "a b"})
    assert odd.headers["x-request-id"] != "a b"
    assert len(odd.headers["x-request-id"]) == 32


async def test_health_needs_no_key_and_tells_what_answers(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/health")
    assert answer.status_code == 200
    health = answer.json()
    assert health.pop("version")
    assert health == {"status": "ok", "database": "ok", "temporal": "ok"}


async def test_editors_get_the_schema_of_nango_yaml_without_a_key(
    stranger: httpx.AsyncClient,
) -> None:
    answer = await stranger.get("/nango.schema.json")
    assert answer.status_code == 200
    assert answer.text == nango_schema_json()


async def test_description_is_the_one_that_the_documentation_is_written_from(
    api: httpx.AsyncClient,
) -> None:
    assert (await api.get("/openapi.json")).json() == api_document()


async def test_description_names_every_operation_once(app: FastAPI, api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()

    described = [
        (operation["operationId"], method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    names = [name for name, _, _ in described]
    assert len(names) == len(set(names))
    assert ("trigger_action", "POST", "/action/trigger") in described
    assert ("list_records", "GET", "/records") in described
    assert document["security"] == [{"secretKey": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    aliases = {path for _, path in operations(app) if path.startswith("/connection/")}
    assert aliases
    assert not aliases & set(document["paths"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
