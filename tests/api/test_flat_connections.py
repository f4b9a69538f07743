"""Connections as older clients make them: `POST /connection` with everything side by side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import error_of

CLIENT = {"type": "OAUTH2", "client_id": "app", "client_secret": "app-hush"}
# Their entries ask the provider nothing before a connection is stored.
PROVIDERS = {
    "pay": {"provider": "generic-api-key"},
    "shop": {"provider": "generic-basic"},
    "open": {"provider": "generic-none"},
    "hub": {"provider": "google-docs", "credentials": CLIENT},
}


@pytest.fixture
async def client(live: httpx.AsyncClient) -> httpx.AsyncClient:
    for key, facts in PROVIDERS.items():
        answer = await live.post("/integrations", json={"unique_key": key, **facts})
        assert answer.status_code == 200, answer.text
    return live


async def make(client: httpx.AsyncClient, integration: str, **body: Any) -> httpx.Response:
    config = {"baseUrl": "http://127.0.0.1:9"}
    flat = {"provider_config_key": integration, "connection_config": config, **body}
    return await client.post("/connection", json=flat)


async def stored(client: httpx.AsyncClient, answer: httpx.Response, key: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    path = f"/connection/{answer.json()['connection_id']}"
    query = {"provider_config_key": key, "refresh_token": "true"}
    return (await client.get(path, params=query)).json()


@pytest.mark.parametrize(
    ("integration", "flat", "credentials"),
    [
        ("pay", {"api_key": "hush-hush"}, {"type": "API_KEY", "apiKey": "hush-hush"}),
        ("pay", {"apiKey": "hush-hush"}, {"type": "API_KEY", "apiKey": "hush-hush"}),
        (
            "shop",
            {"username": "ada", "password": "hush-hush"},
            {"type": "BASIC", "username": "ada", "password": "hush-hush"},
        ),
        ("open", {}, {"type": "NONE"}),
        (
            "hub",
            {"access_token": "at", "refresh_token": "rt", "no_expiration": True},
            {"type": "OAUTH2", "access_token": "at", "refresh_token": "rt"},
        ),
    ],
)
async def test_kind_of_credentials_follows_from_the_provider(
    client: httpx.AsyncClient,
    integration: str,
    flat: dict[str, Any],
    credentials: dict[str, Any],
) -> None:
    answer = await make(client, integration, connection_id="acme", metadata={"a": 1}, **flat)

    made = await stored(client, answer, integration)
    assert (made["connection_id"], made["metadata"]) == ("acme", {"a": 1})
    assert made["credentials"] == credentials


async def test_tokens_end_when_their_owner_says(client: httpx.AsyncClient) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    at = await make(client, "hub", access_token="at", expires_at=moment.isoformat())
    within = await make(client, "hub", access_token="at", expires_in=3 * 24 * 3600)

    assert at.json()["credentials"]["expires_at"] == moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    told = datetime.fromisoformat(within.json()["credentials"]["expires_at"])
    assert abs(told - moment) < timedelta(minutes=1)


async def test_tokens_may_belong_to_a_client_of_their_own(client: httpx.AsyncClient) -> None:
    answer = await make(
        client,
        "hub",
        access_token="at",
        no_expiration=True,
        oauth_client_id_override="own",
        oauth_client_secret_override="own-hush",
    )

    made = await stored(client, answer, "hub")
    assert made["credentials"]["config_override"] == {
        "client_id": "own",
        "client_secret": "own-hush",
    }


@pytest.mark.parametrize(
    ("integration", "flat", "missing"),
    [
        ("pay", {"username": "ada"}, ["api_key"]),
        ("shop", {}, ["username"]),
        ("hub", {"refresh_token": "hush-hush"}, ["access_token", "expires_at"]),
        ("hub", {"access_token": "hush-hush"}, ["expires_at"]),
    ],
)
async def test_fields_that_are_missing_are_named(
    client: httpx.AsyncClient, integration: str, flat: dict[str, Any], missing: list[str]
) -> None:
    answer = await make(client, integration, **flat)

    assert error_of(answer) == (400, "invalid_body")
    assert [error["path"] for error in answer.json()["error"]["errors"]] == [
        [name] for name in missing
    ]
    assert "hush-hush" not in answer.text


async def test_body_of_todays_clients_is_taken_too(client: httpx.AsyncClient) -> None:
    body = {
        "provider_config_key": "pay",
        "tags": {"team": "a"},
        "connection_config": {"baseUrl": "http://127.0.0.1:9"},
        "credentials": {"type": "API_KEY", "api_key": "hush-hush"},
    }

    answer = await client.post("/connection", json=body)
    wrong = await client.post("/connection", json=body | {"credentials": "hush-hush"})

    assert answer.json()["tags"] == {"team": "a"}
    assert error_of(wrong) == (400, "invalid_body")
    assert [error["path"] for error in wrong.json()["error"]["errors"]] == [["credentials"]]


async def test_list_without_an_s_is_the_same_list(client: httpx.AsyncClient) -> None:
    await make(client, "pay", api_key="hush-hush", connection_id="acme")

    old, new = await client.get("/connection"), await client.get("/connections")

    assert old.json() == new.json()
    assert [found["connection_id"] for found in old.json()["connections"]] == ["acme"]


async def test_unknown_integration_is_not_found(client: httpx.AsyncClient) -> None:
    assert error_of(await make(client, "crm", api_key="hush-hush")) == (404, "not_found")
