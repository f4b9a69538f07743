"""`perdure providers`."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_httpserver import HTTPServer

from perdure.providers.provider_catalog import ProviderCatalog
from tests.unit.cli.calls import Run

CATALOG = ProviderCatalog.load()


def entry(name: str) -> dict[str, object]:
    return {**CATALOG.entry(name), "name": name, "logo_url": None}


def test_providers_are_listed(server: HTTPServer, run: Run) -> None:
    server.expect_request("/providers", query_string="search=git").respond_with_json(
        {"data": [entry("github"), entry("gitlab-pat")]}
    )

    result = run("providers", "list", "git")

    assert result.code == 0, result.err
    assert "gitlab-pat" in result.out
    assert "OAUTH2" in result.out


def test_search_without_a_hit_says_where_further_ones_come_from(
    server: HTTPServer, run: Run
) -> None:
    server.expect_request("/providers").respond_with_json({"data": []})

    result = run("providers", "list", "acme")

    assert (result.code, result.out) == (0, "")
    assert "PERDURE_PROVIDERS" in result.err


def test_every_provider_can_be_shown(server: HTTPServer, run: Run) -> None:
    for provider in CATALOG:
        path = f"/providers/{provider.name}"
        server.expect_request(path).respond_with_json({"data": entry(provider.name)})

        result = run("providers", "show", provider.name)

        assert result.code == 0, result.err
        assert provider.auth_mode in result.out


def test_what_a_provider_asks_for_is_shown(server: HTTPServer, run: Run) -> None:
    server.expect_request("/providers/zoho-crm").respond_with_json({"data": entry("zoho-crm")})

    shown = run("providers", "show", "zoho-crm").out

    assert "extension (optional), api_domain (found out by itself)" in shown
    assert "GET /crm/v8/org or /crm/v8/settings/modules" in shown
    as_json = json.loads(run("providers", "show", "zoho-crm", "--json").out)
    assert as_json["data"]["proxy"]["paginate"]["limit"] == 200


def test_files_are_checked_without_a_server(run: Run, elsewhere: Path) -> None:
    Path("own.yaml").write_text(
        "acme: {display_name: Acme, auth_mode: NONE}\nslack: {alias: slack, docs: https://x.test}\n"
    )

    result = run("providers", "check", "own.yaml")

    assert result.code == 0, result.err
    assert "1 new provider, 1 of the catalogue's replaced" in result.out


def test_faults_of_files_are_told_with_their_place(run: Run, elsewhere: Path) -> None:
    Path("own.yaml").write_text("acme:\n  display_name: Acme\n  auth_mode: MAGIC\nb: {alias: c}\n")

    result = run("providers", "check", "own.yaml")

    assert result.code == 1
    assert "own.yaml:3:14: auth_mode of the provider 'acme'" in result.err
    assert "own.yaml:4:12: The alias 'c'" in result.err
