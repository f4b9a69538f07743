"""Integrations over REST."""

from __future__ import annotations

import httpx

from tests.api.calls import error_of


async def test_integration_takes_the_name_of_its_provider(api: httpx.AsyncClient) -> None:
    answer = await api.post("/integrations", json={"provider": "stripe", "unique_key": "pay"})

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
        "stripe",
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
    new = {"provider": "stripe", "unique_key": "pay"}
    await api.post("/integrations", json=new)

    assert error_of(await api.post("/integrations", json=new)) == (
        409,
        "unique_key_already_exists",
    )
