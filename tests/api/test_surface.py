"""What clients and browsers rely on, whichever endpoint they call."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from tests.api.calls import client_of, error_of
from tests.support.stack import Stack

PAGE = {"origin": "https://app.example"}
ASKS = {
    "access-control-request-method": "PATCH",
    "access-control-request-headers": "authorization, connection-id",
}


@pytest.mark.parametrize("path", ["/connections", "/records", "/proxy/v1/x", "/connect/session"])
async def test_browser_may_call_from_any_page(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.options(path, headers=PAGE | ASKS)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_page_can_read_failures_and_our_headers(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/connections", headers=PAGE)

    assert error_of(answer) == (401, "missing_auth_header")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "retry-after" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/codec", "/codec/decode"])
async def test_codec_endpoint_is_for_the_temporal_ui_alone(
    stranger: httpx.AsyncClient, path: str
) -> None:
    answer = await stranger.get(path, headers=PAGE)
    assert "access-control-allow-origin" not in answer.headers


async def test_head_is_answered_as_get_without_the_body(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    shown = await api.get("/integrations")
    head = await api.head("/integrations")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == shown.headers["content-length"]
    assert (await stranger.head("/health")).status_code == 200
    assert (await stranger.head("/integrations")).status_code == 401
    assert (await api.head("/integrations/nothing")).status_code == 404


async def test_head_does_nothing_that_a_get_would_do(api: httpx.AsyncClient) -> None:
    for path in ("/oauth/callback?state=a&code=b", "/connect?session_token=a", "/records/stream"):
        assert (await api.head(path)).status_code == 405, path


@pytest.mark.parametrize(
    "path",
    [
        "/sync/deploy",
        "/sync/deploy/confirmation",
        "/functions/compile",
        "/functions/dryruns",
        "/functions/deployments",
        "/functions/invocations",
    ],
)
async def test_who_deploys_typescript_is_told_how_it_is_done(
    api: httpx.AsyncClient, path: str
) -> None:
    answer = await api.post(path, json={"flowConfigs": [], "reconcile": True, "debug": False})

    assert error_of(answer) == (400, "feature_disabled")
    assert "perdure deploy" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/integrations/crm"),
        ("PATCH", "/integrations/crm"),
        ("DELETE", "/integrations/crm"),
        ("GET", "/integrations/crm/functions"),
        ("GET", "/integrations/crm/functions/issues"),
        ("GET", "/providers/nobody"),
        ("GET", "/providers/nobody/templates"),
    ],
)
async def test_what_stands_in_the_path_and_does_not_exist_is_not_found(
    api: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await api.request(method, path, json={} if method == "PATCH" else None)
    assert error_of(answer) == (404, "not_found")


@pytest.mark.parametrize("path", ["/integrations/", "/integrations/pay/", "/health/"])
async def test_slash_at_the_end_changes_nothing(api: httpx.AsyncClient, path: str) -> None:
    await api.post("/integrations/", json={"provider": "stripe-api-key", "unique_key": "pay"})

    answer = await api.get(path)

    assert answer.status_code == 200, answer.text
    assert answer.json() == (await api.get(path.removesuffix("/"))).json()


async def test_slash_that_belongs_to_a_name_stays(environment: Stack, app: FastAPI) -> None:
    await environment.connect("http://127.0.0.1:9", connection_id="a/")
    query = {"provider_config_key": "tracker"}
    async with client_of(app, environment.secret_key) as client:
        named = await client.get("/connections/a%2F", params=query)
        other = await client.get("/connections/a/", params=query)
        nameless = await client.get("/connections/", params=query)

    assert named.json()["connection_id"] == "a/"
    assert error_of(other) == (404, "not_found")
    assert error_of(nameless) == (400, "invalid_uri_params")


async def test_delete_may_have_a_body(api: httpx.AsyncClient) -> None:
    await api.post("/integrations", json={"provider": "stripe-api-key", "unique_key": "pay"})
    answer = await api.request("DELETE", "/integrations/pay", json={"any": "thing"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})


async def test_environment_without_variables_has_an_empty_list(api: httpx.AsyncClient) -> None:
    assert (await api.get("/environment-variables")).json() == []
    await api.put("/environment-variables/REGION", json={"value": "eu"})
    assert (await api.get("/environment-variables")).json() == [{"name": "REGION", "value": "eu"}]
