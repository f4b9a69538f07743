"""Connections over REST."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from perdure.temporal.payloads import SyncInput
from tests.api.calls import connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

KEY = {"type": "API_KEY", "apiKey": "hush-hush"}


def new_connection(**changes: Any) -> dict[str, Any]:
    return {"provider_config_key": "pay", "credentials": KEY, **changes}


@pytest.fixture
async def pay(live: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client whose environment has the integration `pay` of Stripe."""
    new = {"provider": "stripe-api-key", "unique_key": "pay"}
    assert (await live.post("/integrations", json=new)).status_code == 200
    return live


async def test_new_connection_is_answered_in_full(pay: httpx.AsyncClient) -> None:
    body = new_connection(
        connection_id="acme",
        metadata={"plan": "pro", "nothing": None},
        connection_config={"region": "eu"},
        tags={"team": "a"},
        end_user={"id": "u1", "email": "u@example.com", "organization": {"id": "o1"}},
    )

    answer = await pay.post("/connections", json=body)

    assert answer.status_code == 200
    made = answer.json()
    assert isinstance(made.pop("id"), int)
    for name in ("created_at", "updated_at"):
        assert made.pop(name).endswith("Z")
    assert made == {
        "connection_id": "acme",
        "provider_config_key": "pay",
        "provider": "stripe-api-key",
        "last_fetched_at": None,
        "metadata": {"plan": "pro", "nothing": None},
        "connection_config": {"region": "eu"},
        "webhook_url_override": None,
        "errors": [],
        "end_user": {"id": "u1", "email": "u@example.com", "organization": {"id": "o1"}},
        "tags": {"team": "a"},
        "credentials": {"type": "API_KEY", "apiKey": "hush-hush"},
    }


async def test_connection_without_a_name_gets_a_uuid(pay: httpx.AsyncClient) -> None:
    made = (await pay.post("/connections", json=new_connection())).json()
    assert uuid.UUID(made["connection_id"]).version == 4


async def test_same_name_again_gives_the_connection_new_credentials(
    pay: httpx.AsyncClient,
) -> None:
    first = new_connection(connection_id="acme", metadata={"a": 1})
    again = new_connection(connection_id="acme", credentials=KEY | {"apiKey": "newer"})
    made = (await pay.post("/connections", json=first)).json()

    changed = (await pay.post("/connections", json=again)).json()

    assert changed["id"] == made["id"]
    assert changed["metadata"] == {"a": 1}
    assert changed["credentials"]["apiKey"] == "newer"


@pytest.mark.parametrize("path", ["/connections", "/connection"])
async def test_connection_is_read_with_its_credentials(pay: httpx.AsyncClient, path: str) -> None:
    await pay.post(path, json=new_connection(connection_id="a/b c"))
    query = {"provider_config_key": "pay"}

    first = await pay.get(f"{path}/a%2Fb%20c", params=query)
    second = await pay.get(f"{path}/a%2Fb%20c", params=query)

    assert first.status_code == 200
    assert first.json()["credentials"] == KEY
    assert first.json()["last_fetched_at"] is None
    assert second.json()["last_fetched_at"] is not None


async def test_what_does_not_exist_has_nangos_codes(pay: httpx.AsyncClient) -> None:
    nobody = {"provider_config_key": "pay"}
    nothing = {"provider_config_key": "crm"}
    get, delete = pay.get, pay.delete
    assert error_of(await get("/connections/x", params=nobody)) == (404, "not_found")
    assert error_of(await get("/connections/x", params=nothing)) == (
        400,
        "unknown_provider_config",
    )
    assert error_of(await delete("/connections/x", params=nobody)) == (400, "unknown_connection")
    assert error_of(await delete("/connections/x", params=nothing)) == (
        400,
        "unknown_provider_config",
    )
    assert error_of(await get("/connections/x")) == (400, "invalid_query_params")
    body = new_connection(provider_config_key="crm")
    assert error_of(await pay.post("/connections", json=body)) == (404, "not_found")


@pytest.mark.parametrize(
    ("credentials", "path"),
    [
        ({"type": "BASIC", "username": "hush-hush"}, ["credentials", "type"]),
        ({"type": "OAUTH2", "access_token": "hush-hush"}, ["credentials", "type"]),
        ({"apiKey": "hush-hush"}, ["credentials", "type"]),
        ({"type": "API_KEY"}, ["credentials", "apiKey"]),
    ],
)
async def test_credentials_have_to_fit_the_provider(
    pay: httpx.AsyncClient, credentials: dict[str, str], path: list[str]
) -> None:
    answer = await pay.post("/connections", json=new_connection(credentials=credentials))

    assert error_of(answer) == (400, "invalid_body")
    assert [error["path"] for error in answer.json()["error"]["errors"]] == [path]
    assert "hush-hush" not in answer.text


@pytest.mark.parametrize(
    "change", [{"connection_id": "é"}, {"connection_id": "a" * 256}, {"tags": {"a": 1}}]
)
async def test_field_of_the_wrong_form_is_refused(
    pay: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    answer = await pay.post("/connections", json=new_connection(**change))
    assert error_of(answer) == (400, "invalid_body")
    assert "hush-hush" not in answer.text


async def test_text_that_is_no_unicode_is_refused(pay: httpx.AsyncClient) -> None:
    body = r'{"provider_config_key": "pay", "credentials": {"type": "API_KEY", "apiKey": "\ud800"}}'

    answer = await pay.post(
        "/connections", content=body, headers={"content-type": "application/json"}
    )

    assert error_of(answer) == (400, "unstorable_text")
    assert (await pay.get("/connections")).json() == {"connections": []}


async def test_list_shows_no_credentials_and_can_be_narrowed(pay: httpx.AsyncClient) -> None:
    for name, team in (("one", "a"), ("two", "b"), ("three", "b")):
        body = new_connection(connection_id=name, tags={"team": team}, end_user={"id": f"u-{name}"})
        await pay.post("/connections", json=body)

    async def names(**query: Any) -> list[str]:
        answer = await pay.get("/connections", params=query)
        assert "hush-hush" not in answer.text
        return [found["connection_id"] for found in answer.json()["connections"]]

    assert await names() == ["three", "two", "one"]
    assert await names(connectionId="two") == ["two"]
    assert await names(integrationId="pay,crm") == ["three", "two", "one"]
    assert await names(integrationId="crm") == []
    assert await names(search="t") == ["three", "two"]
    assert await names(endUserId="u-one") == ["one"]
    assert await names(**{"tags[team]": "b"}) == ["three", "two"]
    assert await names(limit=2, page=1) == ["one"]
    shown = (await pay.get("/connections?limit=1")).json()["connections"][0]
    assert set(shown) == {
        "id",
        "connection_id",
        "provider_config_key",
        "provider",
        "created",
        "metadata",
        "errors",
        "end_user",
        "tags",
    }


def input_of(stack: Stack, made: dict[str, Any]) -> SyncInput:
    return SyncInput(
        environment=stack.environment.name,
        environment_id=stack.environment.id,
        integration="tracker",
        connection_id=made["connection_id"],
        connection_key=made["id"],
        sync="issues",
    )


async def test_new_connection_has_its_schedules_and_a_deleted_one_has_none(
    stack: Stack, live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project())
    made = await connect(live, source.url)
    sync = input_of(stack, made)
    schedules = stack.container.schedules
    assert await schedules.status(sync) is not None

    deleted = await live.delete("/connections/acme", params={"provider_config_key": "tracker"})

    assert deleted.json() == {"success": True}
    assert await schedules.status(sync) is None
    assert (await live.get("/connections")).json() == {"connections": []}


async def test_without_temporal_no_connection_is_left_half_made(
    offline: httpx.AsyncClient,
) -> None:
    await offline.post("/integrations", json={"provider": "stripe-api-key", "unique_key": "pay"})

    answer = await offline.post("/connections", json=new_connection(connection_id="acme"))

    assert error_of(answer) == (503, "temporal_unavailable")
    assert (await offline.get("/connections")).json() == {"connections": []}
