"""The catalogue of providers over REST."""

from __future__ import annotations

import httpx
import pytest

from tests.api.calls import error_of


async def test_providers_are_listed_by_name_with_their_entries(api: httpx.AsyncClient) -> None:
    answer = await api.get("/providers")

    assert answer.status_code == 200
    listed = answer.json()["data"]
    names = [one["name"] for one in listed]
    assert names == sorted(names)
    assert {"github", "hubspot", "slack", "stripe-api-key", "generic-none"} <= set(names)
    github = next(one for one in listed if one["name"] == "github")
    assert github["display_name"] == "GitHub"
    assert github["auth_mode"] == "OAUTH2"
    assert github["logo_url"] is None
    assert github["authorization_url"] == "https://github.com/login/oauth/authorize"
    assert github["proxy"]["retry"]["at"] == "x-ratelimit-reset"


@pytest.mark.parametrize("search", ["zendesk", "ZenDesk", "zendesk (api"])
async def test_providers_are_searched(api: httpx.AsyncClient, search: str) -> None:
    found = (await api.get("/providers", params={"search": search})).json()["data"]

    assert "zendesk-basic" in [one["name"] for one in found]
    assert all("zendesk" in one["name"] for one in found)


async def test_search_that_finds_nothing_is_an_empty_list(api: httpx.AsyncClient) -> None:
    assert (await api.get("/providers?search=no%20such%20thing")).json() == {"data": []}
    assert error_of(await api.get("/providers", params={"search": "x" * 256})) == (
        400,
        "invalid_query_params",
    )


async def test_provider_is_shown_with_what_it_asks_for(api: httpx.AsyncClient) -> None:
    shown = (await api.get("/providers/salesforce")).json()["data"]

    assert shown["name"] == "salesforce"
    assert shown["connection_config"]["instance_url"]["automated"] is True
    assert "scope_separator" not in shown


async def test_unknown_provider_is_not_found(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get("/providers/acme-crm")) == (404, "not_found")
    assert error_of(await api.get("/providers/acme-crm/templates")) == (404, "not_found")


async def test_no_templates_are_shipped(api: httpx.AsyncClient) -> None:
    assert (await api.get("/providers/github/templates")).json() == {"data": []}
