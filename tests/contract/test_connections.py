"""Connections, integrations and what is deployed, through Nango's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from activities.credential_keeper import CredentialKeeper
from perdure.app.container import Container
from perdure.auth.tokens import TokenClient
from perdure.db.connections import Connection
from perdure.providers.provider_catalog import ProviderCatalog
from tests.contract.conftest import ClientError, NodeClient
from tests.support.authorization_server import (
    PROVIDERS,
    AuthorizationServer,
    authorization_server,
)
from tests.support.stack import Stack


@pytest.fixture
async def issuer() -> AsyncIterator[AuthorizationServer]:
    """A real authorization server."""
    async with authorization_server() as server:
        yield server


@pytest.fixture
async def served_container(container: Container, tmp_path: Path) -> AsyncIterator[Container]:
    """What the API is made of, which knows the providers of the authorization server."""
    file = tmp_path / "providers.yaml"
    file.write_text(PROVIDERS)
    catalog = ProviderCatalog.load(file)
    async with CredentialKeeper(
        container.database, catalog, TokenClient(container.transport)
    ) as keeper:
        yield replace(container, catalog=catalog, keeper=keeper)


async def test_integration_is_made_changed_and_deleted(nango: NodeClient) -> None:
    made = await nango.call(
        "createIntegration", {"provider": "stripe-api-key", "unique_key": "pay"}
    )
    changed = await nango.call("updateIntegration", {"uniqueKey": "pay"}, {"display_name": "Pay"})
    listed = await nango.call("listIntegrations")
    deleted = await nango.call("deleteIntegration", "pay")

    assert made["data"]["provider"] == "stripe-api-key"
    assert changed["data"]["display_name"] == "Pay"
    assert [one["unique_key"] for one in listed["configs"]] == ["pay"]
    assert (deleted["status"], deleted["data"]) == (200, {"success": True})
    with pytest.raises(ClientError) as caught:
        await nango.call("getIntegration", {"uniqueKey": "pay"})
    assert caught.value.status == 404


async def test_quickstart_makes_an_integration(nango: NodeClient) -> None:
    made = await nango.call(
        "createQuickstartIntegration", {"provider": "stripe-api-key", "unique_key": "pay"}
    )

    assert made["data"]["unique_key"] == "pay"


async def test_integration_shows_its_webhook_secret_on_request(nango: NodeClient) -> None:
    await nango.call(
        "createIntegration",
        {
            "provider": "stripe-api-key",
            "unique_key": "pay",
            "credentials": {"webhook_secret": "whsec_1"},
        },
    )

    # The client asks for the last of what it is given.
    shown = await nango.call("getIntegration", {"uniqueKey": "pay"}, {"include": ["credentials"]})

    assert shown["data"]["credentials"] == {"webhook_secret": "whsec_1"}


@pytest.mark.usefixtures("connection")
async def test_functions_are_listed_shown_and_kept(nango: NodeClient) -> None:
    listed = await nango.call("listFunctions", {"uniqueKey": "tracker"}, {"type": "sync"})
    shown = await nango.call("getFunction", {"uniqueKey": "tracker", "name": "echo"})
    code = await nango.call("getFunctionCode", {"uniqueKey": "tracker", "name": "issues"})

    assert [one["name"] for one in listed["data"]] == ["issues"]
    assert shown["data"]["type"] == "action"
    assert "fetch_data" in code["code"]
    with pytest.raises(ClientError) as caught:
        await nango.call("deleteFunction", {"uniqueKey": "tracker", "name": "echo"})
    assert caught.value.code == "function_managed_by_deploy"


async def test_connections_are_listed_in_both_forms(
    nango: NodeClient, connection: Connection
) -> None:
    older = await nango.call("listConnections", "acme")
    newer = await nango.call(
        "listConnections", {"connectionId": "acme", "integrationId": ["tracker", "x"], "limit": 5}
    )

    assert [one["id"] for one in older["connections"]] == [connection.key]
    assert newer == older


async def test_connection_is_shown_with_its_credentials(
    nango: NodeClient, connection: Connection
) -> None:
    shown = await nango.call("getConnection", "tracker", "acme")
    details = await nango.call("getToken", "tracker", "acme")

    assert shown["id"] == connection.key
    assert shown["credentials"] == {"type": "API_KEY", "apiKey": "key-of-acme"}
    assert details == shown["credentials"]


async def test_missing_connection_is_a_404(nango: NodeClient, connection: Connection) -> None:
    assert connection
    with pytest.raises(ClientError) as caught:
        await nango.call("getConnection", "tracker", "nobody")
    assert (caught.value.status, caught.value.code) == (404, "not_found")


@pytest.mark.usefixtures("connection")
async def test_tags_and_end_user_are_changed(nango: NodeClient) -> None:
    target = {"connectionId": "acme", "provider_config_key": "tracker"}
    change = {"tags": {"plan": "pro"}, "end_user": {"id": "u1", "email": "u@example.com"}}

    assert await nango.call("patchConnection", target, change) == {"success": True}
    tagged = await nango.call("listConnections", {"tags": {"plan": "pro"}})
    found = await nango.call("listConnections", {"userId": "u1"})

    assert [one["connection_id"] for one in tagged["connections"]] == ["acme"]
    assert found["connections"][0]["end_user"]["email"] == "u@example.com"
    assert (await nango.call("waitForConnection", "tracker", "u1"))["connection_id"] == "acme"


@pytest.mark.usefixtures("connection")
async def test_metadata_is_set_merged_and_read(nango: NodeClient) -> None:
    made = await nango.call("setMetadata", "tracker", "acme", {"a": 1, "b": 1})
    merged = await nango.call("updateMetadata", "tracker", ["acme"], {"b": 2})

    assert (made["status"], merged["status"]) == (201, 200)
    assert await nango.call("getMetadata", "tracker", "acme") == {"a": 1, "b": 2}


@pytest.mark.usefixtures("connection")
async def test_connection_is_deleted(nango: NodeClient) -> None:
    deleted = await nango.call("deleteConnection", "tracker", "acme")

    assert (deleted["status"], deleted["data"]) == (200, {"success": True})
    assert await nango.call("listConnections") == {"connections": []}


@pytest.mark.usefixtures("connection")
async def test_scripts_are_described_in_both_formats(nango: NodeClient) -> None:
    (integration,) = await nango.call("getScriptsConfig")
    tools = await nango.call("getScriptsConfig", "openai")

    assert integration["providerConfigKey"] == "tracker"
    assert [sync["name"] for sync in integration["syncs"]] == ["issues"]
    assert [tool["name"] for tool in tools["data"]] == ["echo"]


async def test_environment_variables_are_listed(nango: NodeClient) -> None:
    assert await nango.call("getEnvironmentVariables") == []


async def test_providers_are_listed_and_shown(nango: NodeClient) -> None:
    listed = await nango.call("listProviders", {"search": "github"})
    shown = await nango.call("getProvider", {"provider": "github"})
    templates = await nango.call("getProviderTemplates", {"provider": "github"})

    assert {"github"} <= {one["name"] for one in listed["data"]}
    assert shown["data"]["auth_mode"] == "OAUTH2"
    assert templates == {"data": []}


async def test_client_credentials_are_kept_and_shown_on_request(nango: NodeClient) -> None:
    credentials = {
        "type": "OAUTH2",
        "client_id": "our-client",
        "client_secret": "our-client-secret",
        "scopes": "repo,user",
    }
    await nango.call(
        "createIntegration",
        {"provider": "github", "unique_key": "github", "credentials": credentials},
    )

    shown = await nango.call(
        "getIntegration", {"uniqueKey": "github"}, {"include": ["credentials"]}
    )
    bare = await nango.call("getIntegration", {"uniqueKey": "github"})

    assert shown["data"]["credentials"] == credentials | {"webhook_secret": None}
    assert "credentials" not in bare["data"]


async def test_connect_sessions_are_made(nango: NodeClient, connection: Connection) -> None:
    made = await nango.call("createConnectSession", {"end_user": {"id": "u1"}})
    again = await nango.call(
        "createReconnectSession", {"connection_id": "acme", "integration_id": "tracker"}
    )

    assert connection
    for answer in (made, again):
        assert answer["data"]["token"].startswith("nango_connect_session_")
        assert answer["data"]["connect_link"].startswith("http")
        assert answer["data"]["expires_at"]


async def test_tokens_of_oauth_are_had_and_refreshed(
    nango: NodeClient, stack: Stack, issuer: AuthorizationServer
) -> None:
    database = stack.container.database
    await database.integrations.create(
        stack.environment.id, "oauth", "loopback-oauth", credentials=issuer.client
    )
    await database.connections.save(
        stack.environment.id,
        "oauth",
        "acme",
        await issuer.tokens(),
        connection_config={"issuer": issuer.url},
    )

    token = await nango.call("getToken", "oauth", "acme")
    refreshed = await nango.call("getToken", "oauth", "acme", True)
    whole = await nango.call("getConnection", "oauth", "acme", False, True)
    raw = await nango.call("getRawTokenResponse", "oauth", "acme")

    assert token != refreshed
    assert whole["credentials"]["access_token"] == refreshed
    assert whole["credentials"]["refresh_token"]
    assert raw["access_token"] == refreshed
    assert await issuer.refreshes() == 1
