"""Several environments on one server."""

from __future__ import annotations

import uuid

import httpx
import pytest
from fastapi import FastAPI

from perdure.app.container import Container
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack


def a_name() -> str:
    return f"env-{uuid.uuid4().hex[:8]}"


async def make(api: httpx.AsyncClient, name: str) -> dict:
    answer = await api.post("/environments", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_new_environment_is_empty_and_opened_by_the_key_that_is_shown(
    app: FastAPI, api: httpx.AsyncClient
) -> None:
    name = a_name()
    made = await make(api, name)

    async with client_of(app, made["key"]["api_key"]) as client:
        shown = (await client.get("/environment")).json()
        assert (shown["name"], shown["uuid"]) == (name, made["uuid"])
        assert (await client.get("/integrations")).json() == {"data": []}
        keys = (await client.get("/environment/api-keys")).json()["data"]
        # It rules its own environment and no other.
        assert error_of(await client.get("/environments")) == (403, "forbidden")
        assert error_of(await client.delete(f"/environments/{name}")) == (403, "forbidden")

    assert [key["scopes"] for key in keys] == [["environment:*"]]
    assert name in [one["name"] for one in (await api.get("/environments")).json()["data"]]


async def test_two_environments_cannot_have_one_name(api: httpx.AsyncClient) -> None:
    name = a_name()
    await make(api, name)

    answer = await api.post("/environments", json={"name": name})

    assert error_of(answer) == (409, "environment_already_exists")


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "x" * 65, "ä"])
async def test_a_name_that_does_not_fit_into_ids_is_refused(
    api: httpx.AsyncClient, name: str
) -> None:
    answer = await api.post("/environments", json={"name": name})

    assert error_of(answer) == (400, "invalid_body")


async def test_a_deleted_environment_is_gone_with_its_keys(
    app: FastAPI, api: httpx.AsyncClient
) -> None:
    name = a_name()
    made = await make(api, name)
    async with client_of(app, made["key"]["api_key"]) as client:
        assert (await client.get("/environment")).status_code == 200

        assert (await api.delete(f"/environments/{name}")).json() == {"success": True}

        assert error_of(await client.get("/environment")) == (401, "unknown_account")
    assert error_of(await api.delete(f"/environments/{name}")) == (404, "unknown_environment")
    await make(api, name)


async def test_an_environment_with_connections_is_not_deleted(
    container: Container, api: httpx.AsyncClient
) -> None:
    other = await Stack.create(container)
    connection = await other.connect("http://tracker.test")
    name = other.environment.name

    refused = await api.delete(f"/environments/{name}")
    await container.database.connections.delete(
        other.environment.id, connection.integration, connection.connection_id
    )

    assert error_of(refused) == (409, "environment_not_empty")
    assert (await api.delete(f"/environments/{name}")).status_code == 200


async def test_nobody_saws_at_the_branch_they_sit_on(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    answer = await api.delete(f"/environments/{environment.environment.name}")

    assert error_of(answer) == (409, "environment_in_use")
