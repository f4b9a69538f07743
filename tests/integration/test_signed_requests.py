"""Scripts of connections that sign: their requests, or the tokens that go along."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from werkzeug import Request, Response

from tests.support.actions import action
from tests.support.oauth1_server import OAuth1Server
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

CLIENT = {"client_id": "our-app", "client_secret": "our-app-secret"}


@pytest.fixture
def signed(source: Source) -> OAuth1Server:
    server = OAuth1Server(source.server, CLIENT["client_id"], CLIENT["client_secret"])
    server.validator.tokens["acme-token"] = "acme-token-secret"
    return server


async def signed_call(stack: Stack, provider: str, credentials: dict[str, Any], body: str) -> Any:
    """Run an action of a connection whose provider takes signed requests."""
    database = stack.container.database
    await database.integrations.create(
        stack.environment.id, "tracker", provider, credentials={"type": "OAUTH1", **CLIENT}
    )
    connection, _ = await database.connections.save(
        stack.environment.id,
        "tracker",
        "acme",
        credentials,
        connection_config={"accountId": "1234567-sb1"},
    )
    await stack.deploy(project(action=action(body)))
    handle = await stack.start_action(connection, None)
    return (await handle.result())["output"]


OAUTH1 = {
    "type": "OAUTH1",
    "oauth_token": "acme-token",
    "oauth_token_secret": "acme-token-secret",
}
TBA = {"type": "TBA", "token_id": "acme-token", "token_secret": "acme-token-secret"}


@pytest.mark.parametrize(
    ("provider", "credentials", "realm"),
    [("twitter", OAUTH1, None), ("netsuite-tba", TBA, "1234567_SB1")],
)
async def test_script_makes_requests_that_the_provider_verifies(
    stack: Stack,
    source: Source,
    signed: OAuth1Server,
    provider: str,
    credentials: dict[str, Any],
    realm: str | None,
) -> None:
    signed.realm = realm
    seen = await signed_call(
        stack,
        provider,
        credentials,
        f"""
        base = {source.url!r}
        one = await nango.get("/api/me", params={{"q": "a b"}}, base_url_override=base)
        two = await nango.post("/api/me", data={{"a": 1}}, base_url_override=base)
        return [one.status, two.status]
        """,
    )
    assert seen == [200, 200]
    assert signed.passed == ["/api/me?q=a%20b", "/api/me"]


async def test_what_the_integration_has_is_not_shown_to_scripts(
    stack: Stack, source: Source, signed: OAuth1Server
) -> None:
    seen = await signed_call(
        stack,
        "twitter",
        OAUTH1,
        "return [await nango.get_connection(), await nango.get_token()]",
    )
    assert "our-app-secret" not in str(seen)
    assert seen[1] == {"oAuthToken": "acme-token", "oAuthTokenSecret": "acme-token-secret"}


async def test_token_that_a_script_needs_is_made_when_it_is_needed(
    stack: Stack, source: Source
) -> None:
    secret = "00112233445566778899aabbccddeeff"
    seen: list[dict[str, Any]] = []

    def posts(request: Request) -> Response:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            read = jwt.decode(token, OctKey.import_key(bytes.fromhex(secret)), ["HS256"])
        except JoseError as error:
            return Response(str(error), 401)
        seen.append({"kind": kind, "kid": read.header["kid"], "aud": read.claims["aud"]})
        return Response(json.dumps({"posts": []}), content_type="application/json")

    source.server.expect_request("/posts").respond_with_handler(posts)
    database = stack.container.database
    await database.integrations.create(stack.environment.id, "tracker", "ghost-admin")
    connection, _ = await database.connections.save(
        stack.environment.id,
        "tracker",
        "acme",
        {"type": "JWT", "id": "64aa", "secret": secret},
        connection_config={"adminDomain": "acme.ghost.io"},
    )
    body = f"""
        answer = await nango.get("/posts", base_url_override={source.url!r})
        return answer.status
        """
    await stack.deploy(project(action=action(body)))
    handle = await stack.start_action(connection, None)

    assert (await handle.result())["output"] == 200
    assert seen == [{"kind": "Ghost", "kid": "64aa", "aud": "/admin/"}]
    stored = await database.connections.credentials(connection)
    assert {"id", "secret", "token", "expires_at"} <= stored.keys()
