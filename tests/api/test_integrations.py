"""Integrations over REST."""

from __future__ import annotations

import httpx

from tests.api.calls import error_of


async def test_integration_takes_the_name_of_its_provider(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/integrations", json={"provider": "stripe-api-key", "unique_key": "pay"}
    )

    assert answer.status_code == 200
    made = answer.json()["data"]
    assert set(made) == {
        "unique_key",
        "provider",
        "display_name",
        "logo",
        "created_at",
        "updated_at",
        "forward_webhooks",
    }
    assert (made["unique_key"], made["provider"], made["display_name"]) == (
        "pay",
        "stripe-api-key",
        "Stripe",
    )
    assert (await api.get("/integrations")).json() == {"data": [made]}


async def test_unknown_provider_is_named(api: httpx.AsyncClient) -> None:
    answer = await api.post("/integrations", json={"provider": "acme-crm", "unique_key": "crm"})

    assert error_of(answer) == (400, "invalid_body")
    (error,) = answer.json()["error"]["errors"]
    assert error["path"] == ["provider"]
    assert "acme-crm" in error["message"]


async def test_key_that_is_taken_is_a_conflict(api: httpx.AsyncClient) -> None:
    new = {"provider": "stripe-api-key", "unique_key": "pay"}
    await api.post("/integrations", json=new)

    assert error_of(await api.post("/integrations", json=new)) == (
        409,
        "unique_key_already_exists",
    )


async def test_integration_is_deleted_with_its_connections(connected: httpx.AsyncClient) -> None:
    answer = await connected.delete("/integrations/tracker")

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert error_of(await connected.get("/integrations/tracker")) == (404, "not_found")
    assert (await connected.get("/connections")).json() == {"connections": []}


async def test_unknown_integration_cannot_be_deleted(api: httpx.AsyncClient) -> None:
    assert error_of(await api.delete("/integrations/nothing")) == (404, "not_found")


async def test_integration_without_connections_is_renamed(api: httpx.AsyncClient) -> None:
    await api.post("/integrations", json={"provider": "stripe-api-key", "unique_key": "pay"})
    secret = {"credentials": {"webhook_secret": "whsec_of_pay"}}
    await api.patch("/integrations/pay", json=secret)

    answer = await api.patch("/integrations/pay", json={"unique_key": "payments"})

    assert answer.json()["data"]["unique_key"] == "payments"
    shown = await api.get("/integrations/payments", params={"include": "credentials"})
    assert shown.json()["data"]["credentials"] == {"webhook_secret": "whsec_of_pay"}


async def test_integration_with_connections_keeps_its_key(connected: httpx.AsyncClient) -> None:
    answer = await connected.patch("/integrations/tracker", json={"unique_key": "other"})

    assert error_of(answer) == (409, "integration_has_connections")
    assert (await connected.get("/integrations/tracker")).status_code == 200


async def test_quickstart_makes_what_needs_no_application(api: httpx.AsyncClient) -> None:
    answer = await api.post("/integrations/quickstart", json={"provider": "stripe-api-key"})

    assert answer.json()["data"]["unique_key"] == "stripe-api-key"
    assert answer.json()["data"]["display_name"] == "Stripe"


async def test_credentials_of_another_kind_are_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/integrations",
        json={
            "provider": "stripe-api-key",
            "unique_key": "pay",
            "credentials": {"type": "OAUTH2", "client_id": "a", "client_secret": "b"},
        },
    )

    assert error_of(answer) == (400, "invalid_body")
    assert answer.json()["error"]["errors"][0]["path"] == ["credentials", "type"]
    assert (await api.get("/integrations")).json() == {"data": []}


async def test_private_key_that_is_none_is_refused_without_being_quoted(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.post(
        "/integrations",
        json={
            "provider": "stripe-api-key",
            "unique_key": "pay",
            "credentials": {"private_key": "not-a-key-at-all"},
        },
    )

    assert error_of(answer) == (400, "invalid_body")
    assert "not-a-key-at-all" not in answer.text
