"""Tags of connections and of connect sessions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.calls import error_of


@pytest.fixture
async def pay(live: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client whose environment has the connection `acme`."""
    new = {"provider": "stripe-api-key", "unique_key": "pay"}
    assert (await live.post("/integrations", json=new)).status_code == 200
    body = {"provider_config_key": "pay", "connection_id": "acme", **KEY}
    assert (await live.post("/connections", json=body)).status_code == 200
    return live


KEY = {"credentials": {"type": "API_KEY", "apiKey": "hush"}}
ACME = "/connections/acme?provider_config_key=pay"


async def tagged(client: httpx.AsyncClient, tags: Any) -> httpx.Response:
    return await client.patch(ACME, json={"tags": tags})


async def test_names_are_kept_in_lower_case_and_found_in_any(pay: httpx.AsyncClient) -> None:
    assert (await tagged(pay, {"Team/EU.a-1_b": "Blue"})).status_code == 200

    (found,) = (await pay.get("/connections?tags[TEAM/eu.a-1_b]=Blue")).json()["connections"]
    assert found["tags"] == {"team/eu.a-1_b": "Blue"}
    assert (await pay.get("/connections?tags[team/eu.a-1_b]=blue")).json()["connections"] == []


async def test_new_tags_take_the_place_of_all_old_ones(pay: httpx.AsyncClient) -> None:
    await tagged(pay, {"a": "1", "b": "2"})
    await tagged(pay, {"b": "3"})
    assert (await pay.get(ACME)).json()["tags"] == {"b": "3"}


@pytest.mark.parametrize(
    "tags",
    [
        {"a": 1},
        {"a": ""},
        {"a": "x" * 256},
        {"1a": "x"},
        {"a b": "x"},
        {"": "x"},
        {"a" * 65: "x"},
        {"Team": "x", "team": "y"},
        {f"t{number}": "x" for number in range(11)},
        {"end_user_email": "nobody"},
    ],
)
async def test_tags_of_another_form_are_refused(
    pay: httpx.AsyncClient, tags: dict[str, Any]
) -> None:
    assert error_of(await tagged(pay, tags)) == (400, "invalid_body")
    session = await pay.post("/connect/sessions", json={"tags": tags})
    assert error_of(session) == (400, "invalid_body")


async def test_ten_tags_of_the_longest_form_are_taken(pay: httpx.AsyncClient) -> None:
    tags = {f"t{number}".ljust(64, "x"): "v" * 255 for number in range(10)}
    assert (await tagged(pay, tags)).status_code == 200
    assert (await pay.get(ACME)).json()["tags"] == tags


@pytest.mark.parametrize(
    "end_user",
    [
        {"id": ""},
        {"id": "u" * 256},
        {"id": "u", "email": 1},
        {"id": "u", "display_name": "n" * 256},
        {"id": "u", "organization": {"id": ""}},
        {"email": "u@example.com"},
    ],
)
async def test_end_user_of_another_form_is_refused(
    pay: httpx.AsyncClient, end_user: dict[str, Any]
) -> None:
    changed = await pay.patch(ACME, json={"end_user": end_user})
    session = await pay.post("/connect/sessions", json={"end_user": end_user})
    assert error_of(changed) == (400, "invalid_body")
    assert error_of(session) == (400, "invalid_body")


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://example.com/x"])
async def test_webhooks_of_a_connection_go_to_web_addresses(
    pay: httpx.AsyncClient, url: str
) -> None:
    answer = await pay.patch(ACME, json={"webhook_url_override": url})
    assert error_of(answer) == (400, "invalid_body")
