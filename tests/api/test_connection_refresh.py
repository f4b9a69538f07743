"""What `GET /connections/{id}` says of tokens that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from activities.connections import ConnectionResolver
from activities.credential_keeper import CredentialKeeper
from api.app import create_app
from perdure.app.container import Container
from perdure.auth.tokens import TokenClient
from perdure.db.connections import Connection
from perdure.providers.provider_catalog import ProviderCatalog
from tests.api.calls import client_of, error_of
from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.keepers import loopback_connection, providers_file
from tests.support.stack import Stack

ENDED = -1.0
ACME = "/connections/acme"


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server() as server:
        yield server


@pytest.fixture
async def oauth(container: Container, tmp_path: Path) -> AsyncIterator[Stack]:
    """An environment of an API that knows the loopback providers."""
    async with AsyncExitStack() as opened:
        catalog = ProviderCatalog.load(providers_file(tmp_path))
        keeper = await opened.enter_async_context(
            CredentialKeeper(container.database, catalog, TokenClient(container.transport))
        )
        connections = ConnectionResolver(container.database.connections, catalog, keeper)
        own = replace(container, catalog=catalog, keeper=keeper, connections=connections)
        yield await Stack.create(own)


@pytest.fixture
async def client(oauth: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(oauth.container), oauth.secret_key) as client:
        client.params = {"provider_config_key": "tracker"}
        yield client


async def connect(
    oauth: Stack, server: AuthorizationServer, credentials: dict[str, Any]
) -> Connection:
    return await loopback_connection(
        oauth.container.database, oauth.environment.id, server, credentials
    )


async def test_an_ended_token_is_refreshed_before_it_is_told(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    await connect(oauth, server, tokens)

    found = (await client.get(ACME)).json()

    assert found["credentials"]["access_token"] != tokens["access_token"]
    assert datetime.fromisoformat(found["credentials"]["expires_at"]).tzinfo is not None
    assert found["credentials"]["raw"]["access_token"] == found["credentials"]["access_token"]
    assert found["errors"] == []
    assert (await client.get(ACME)).json()["credentials"] == found["credentials"]
    assert await server.refreshes() == 1


async def test_the_refresh_token_is_told_to_who_asks_for_it(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    await connect(oauth, server, await server.tokens(lifetime=ENDED))

    plain = (await client.get(ACME)).json()["credentials"]
    full = (await client.get(ACME, params={"refresh_token": "true"})).json()["credentials"]

    assert "refresh_token" not in plain
    assert "refresh_token" not in plain["raw"]
    assert full["refresh_token"] == full["raw"]["refresh_token"]


async def test_a_refresh_can_be_forced(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens()
    await connect(oauth, server, tokens)
    assert (await client.get(ACME)).json()["credentials"]["access_token"] == tokens["access_token"]

    forced = (await client.get(ACME, params={"force_refresh": "true"})).json()["credentials"]

    assert forced["access_token"] != tokens["access_token"]
    assert await server.refreshes() == 1


async def test_dead_credentials_are_told_with_the_connection(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    await connect(oauth, server, tokens)
    await server.revoke(tokens)

    answer = await client.get(ACME)

    assert error_of(answer) == (424, "invalid_credentials")
    payload = answer.json()["error"]["payload"]
    assert payload["error"]["type"] == "invalid_grant"
    shown = payload["connection"]
    assert (shown["connection_id"], shown["provider_config_key"]) == ("acme", "tracker")
    assert "credentials" not in shown
    (fault,) = shown["errors"]
    assert fault["type"] == "auth"
    assert tokens["refresh_token"] not in answer.text
    listed = (await client.get("/connections")).json()["connections"]
    assert [one["errors"] for one in listed] == [[fault]]
    assert error_of(await client.get(ACME)) == (424, "connection_refresh_backoff")
    assert error_of(await client.get(ACME, params={"force_refresh": "true"})) == (
        424,
        "invalid_credentials",
    )


async def test_new_credentials_end_what_was_held_against_the_former(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    await connect(oauth, server, tokens)
    await server.revoke(tokens)
    assert (await client.get(ACME)).status_code == 424

    await connect(oauth, server, await server.tokens(lifetime=ENDED))

    assert (await client.get(ACME)).json()["errors"] == []


async def test_a_token_endpoint_that_is_down_is_told_with_when_to_come_again(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    await connect(oauth, server, await server.tokens(lifetime=ENDED))
    await server.fail()

    answer = await client.get(ACME)

    assert error_of(answer) == (424, "connection_refresh_backoff")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    listed = (await client.get("/connections")).json()["connections"]
    assert listed[0]["errors"] == [], "nobody has to authorize anything anew"


async def test_an_app_shows_who_it_is_to_who_asks_for_it(
    oauth: Stack, client: httpx.AsyncClient
) -> None:
    key = RSAKey.generate_key(2048)
    database, environment = oauth.container.database, oauth.environment
    await database.integrations.create(environment.id, "tracker", "github-app")
    app = {"type": "APP", "app_id": "77", "private_key": key.as_pem(private=True).decode()}
    await database.integrations.update(environment.id, "tracker", credentials=app)
    installation = {"type": "APP", "installation_id": "4711", "access_token": "t-1"}
    await database.connections.save(environment.id, "tracker", "acme", installation)

    plain = (await client.get(ACME)).json()["credentials"]
    query = {"refresh_github_app_jwt_token": "true"}
    full = (await client.get(ACME, params=query)).json()["credentials"]

    assert "jwtToken" not in plain
    assert jwt.decode(full["jwtToken"], key, algorithms=["RS256"]).claims["iss"] == "77"


PROXY = {"connection-id": "acme", "provider-config-key": "tracker"}


async def test_a_call_through_the_proxy_is_made_with_a_token_that_is_good(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    await connect(oauth, server, await server.tokens(lifetime=ENDED))

    found = await asyncio.gather(*(client.get("/proxy/me", headers=PROXY) for _ in range(20)))

    assert [(one.status_code, one.json()) for one in found] == [(200, {"sub": "user-1"})] * 20
    assert await server.refreshes() == 1


async def test_a_call_through_the_proxy_that_is_refused_is_made_again_with_the_next_token(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens()
    await connect(oauth, server, tokens)
    await server.forget(tokens)

    found = await asyncio.gather(*(client.get("/proxy/me", headers=PROXY) for _ in range(20)))

    assert [one.status_code for one in found] == [200] * 20
    assert await server.refreshes() == 1


async def test_a_call_through_the_proxy_tells_of_dead_credentials(
    oauth: Stack, client: httpx.AsyncClient, server: AuthorizationServer
) -> None:
    tokens = await server.tokens(lifetime=ENDED)
    await connect(oauth, server, tokens)
    await server.revoke(tokens)

    assert error_of(await client.get("/proxy/me", headers=PROXY)) == (424, "invalid_credentials")
    assert error_of(await client.get("/proxy/me", headers=PROXY)) == (
        424,
        "connection_refresh_backoff",
    )
