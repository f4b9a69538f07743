"""Connections, integrations and what is deployed, through Nango's own client."""

from __future__ import annotations

import pytest

from perdure.db.connections import Connection
from tests.contract.conftest import ClientError, NodeClient


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
