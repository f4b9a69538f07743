"""Calls through `/proxy` of connections whose requests are signed."""

from __future__ import annotations

import httpx
from pytest_httpserver import HTTPServer

from tests.support.oauth1_server import OAuth1Server
from tests.support.stack import Stack
from tests.support.upstream import Upstream, ok


async def connect(environment: Stack, provider: str, client: str, token: str) -> None:
    """Make integration `x` and its connection `acme`; secrets are named after what they are of."""
    database, whose = environment.container.database, environment.environment.id
    await database.integrations.create(
        whose,
        "x",
        provider,
        credentials={
            "type": "OAUTH1",
            "client_id": client,
            "client_secret": f"{client}-secret",
        },
    )
    await database.connections.save(
        whose,
        "x",
        "acme",
        {"type": "OAUTH1", "oauth_token": token, "oauth_token_secret": f"{token}-secret"},
        metadata=None,
        connection_config={},
    )


async def test_calls_are_signed_with_the_integrations_client(
    api: httpx.AsyncClient, environment: Stack, httpserver: HTTPServer
) -> None:
    provider = OAuth1Server(httpserver, "our-app", "our-app-secret")
    provider.validator.tokens["acme-token"] = "acme-token-secret"
    await connect(environment, "twitter", "our-app", "acme-token")
    headers = {
        "connection-id": "acme",
        "provider-config-key": "x",
        "base-url-override": httpserver.url_for("").rstrip("/"),
    }
    read = await api.get("/proxy/api/me?q=a%20b&q=c", headers=headers)
    form = await api.post("/proxy/api/me", headers=headers, data={"text": "a b&c=d", "more": "ü"})
    body = await api.post("/proxy/api/me", headers=headers, json={"a": 1})

    assert [answer.status_code for answer in (read, form, body)] == [200, 200, 200]
    assert provider.passed == ["/api/me?q=a%20b&q=c", "/api/me", "/api/me"]


async def test_requests_of_oauth_1_are_signed_with_the_fields_of_their_forms(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with Upstream(ok).serving() as provider:
        await connect(environment, "trello", "our-app", "acme-token")
        answer = await caller.post(
            "/proxy/x?a=1",
            data={"b": "2"},
            headers={"provider-config-key": "x", "base-url-override": provider.url},
        )
    assert answer.status_code == 200, answer.text
    stated = provider.asked[0].headers["authorization"]
    assert stated.startswith("OAuth ")
    assert 'oauth_consumer_key="our-app"' in stated
    assert "oauth_signature=" in stated
