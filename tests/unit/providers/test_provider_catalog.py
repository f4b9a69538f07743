from pathlib import Path

import pytest

from perdure.errors import NotFoundError, StartupError
from perdure.providers.provider import AuthMode, Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.proxy import ProviderRetry
from perdure.proxy.requests import CursorPaginate, LinkPaginate, merge_paginate


@pytest.fixture(scope="module")
def catalog() -> ProviderCatalog:
    return ProviderCatalog.load()


def test_own_catalogue_has_what_the_quick_starts_use(catalog: ProviderCatalog) -> None:
    assert {provider.name: provider.auth_mode for provider in catalog} == {
        "generic-api-key": AuthMode.API_KEY,
        "generic-basic": AuthMode.BASIC,
        "generic-none": AuthMode.NONE,
        "github-pat": AuthMode.API_KEY,
        "github-public": AuthMode.NONE,
        "hubspot": AuthMode.API_KEY,
        "intercom": AuthMode.API_KEY,
        "linear": AuthMode.API_KEY,
        "notion": AuthMode.API_KEY,
        "shopify": AuthMode.API_KEY,
        "slack": AuthMode.API_KEY,
        "stripe": AuthMode.API_KEY,
    }


def test_every_own_entry_is_complete(catalog: ProviderCatalog) -> None:
    for provider in catalog:
        assert provider.display_name
        assert provider.categories, provider.name
        assert provider.proxy.base_url, provider.name
        if provider.proxy.paginate is not None:
            merge_paginate(provider.proxy.paginate, None)


def test_stripe_lists_start_after_the_last_id(catalog: ProviderCatalog) -> None:
    paginate = merge_paginate(catalog.get("stripe").proxy.paginate, None)
    assert paginate == CursorPaginate(
        cursor_name_in_request="starting_after",
        cursor_path_in_last_item="id",
        has_more_path_in_response="has_more",
        limit_name_in_request="limit",
        limit=100,
        response_path="data",
    )


def test_github_public_takes_over_everything_but_the_account(catalog: ProviderCatalog) -> None:
    own, alias = catalog.get("github-pat"), catalog.get("github-public")
    assert alias.proxy.base_url == own.proxy.base_url == "https://api.github.com"
    assert alias.proxy.retry == own.proxy.retry
    assert alias.proxy.verification is not None
    assert alias.proxy.verification.method == "GET"
    assert alias.proxy.verification.endpoints == ("/rate_limit",)
    paginate = merge_paginate(alias.proxy.paginate, None)
    assert isinstance(paginate, LinkPaginate)
    assert paginate.link_rel_in_response_header == "next"


def test_unknown_provider_has_its_own_code(catalog: ProviderCatalog) -> None:
    with pytest.raises(NotFoundError) as raised:
        catalog.get("strip")
    assert raised.value.code == "unknown_provider"
    assert "strip" not in catalog
    assert "stripe" in catalog
    assert len(catalog) == 12


def test_operators_file_adds_replaces_and_aliases(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        """
        acme:
          display_name: Acme
          auth_mode: OAUTH2
          authorization_url: https://acme.test/oauth
          scope_separator: ","
          proxy:
            base_url: https://${connectionConfig.subdomain}.acme.test
            decompress: true
            headers: {X-Version: 3, X-Beta: true, X-None: }
            retry:
              error_code: [409, 5xx, "500-502"]
              at: [X-Reset, X-Reset-Two]
              in_body: {path: error.text, value: 'in (\\d+) s', strategy: after}
            verification: {method: GET, endpoint: /me}
        stripe-eu:
          alias: stripe
          display_name: Stripe EU
          proxy: {base_url: https://eu.example.com}
        generic-none:
          display_name: Mine
          auth_mode: NONE
        """
    )
    catalog = ProviderCatalog.load(file)
    acme = catalog.get("acme")
    assert acme.proxy.headers == {"x-version": "3", "x-beta": "true"}
    assert acme.proxy.retry.at == ("x-reset", "x-reset-two")
    assert acme.proxy.verification is not None
    assert acme.proxy.verification.endpoints == ("/me",)
    assert acme.model_dump()["authorization_url"] == "https://acme.test/oauth"
    assert acme.proxy.model_dump()["decompress"] is True
    alias = catalog.get("stripe-eu")
    assert alias.proxy.base_url == "https://eu.example.com"
    assert alias.proxy.paginate == catalog.get("stripe").proxy.paginate
    assert catalog.get("generic-none").display_name == "Mine"
    assert catalog.get("generic-none").proxy.base_url is None


def test_files_of_a_folder_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("acme: {display_name: Second, auth_mode: NONE}")
    (tmp_path / "a.yaml").write_text("acme: {display_name: First, auth_mode: NONE}")
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    (tmp_path / "notes.txt").write_text("{")
    assert ProviderCatalog.load(tmp_path).get("acme").display_name == "Second"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("acme: {display_name: A, auth_mode: MAGIC}", "'acme'.*auth_mode"),
        ("acme: {auth_mode: NONE}", "'acme'.*display_name"),
        ("acme: {alias: nowhere}", "'nowhere'.*'acme' does not exist"),
        ("a: {alias: b}\nb: {alias: a}", "leads back to itself"),
        ("- acme", "must map the name"),
        ("acme: 1", "must map the name"),
        ("acme: {", r"line \d"),
        (
            "acme: {display_name: A, auth_mode: NONE, proxy: {retry: {error_code: [4x3]}}}",
            "proxy.retry.error_code.0",
        ),
        (
            "acme: {display_name: A, auth_mode: NONE,"
            " proxy: {retry: {in_body: {path: x, value: '('}}}}",
            "proxy.retry.in_body.value.*regular expression",
        ),
    ],
)
def test_bad_file_stops_the_start_and_says_where(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(content)
    with pytest.raises(StartupError, match=told):
        ProviderCatalog.load(file)


def test_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no file or folder"):
        ProviderCatalog.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [("403", [403], [402, 404]), ("5xx", [500, 599], [499, 600]), ("500-502", [500, 502], [503])],
)
def test_status_patterns(pattern: str, inside: list[int], outside: list[int]) -> None:
    retry = ProviderRetry(error_code=(pattern,))
    assert all(retry.lists(status) for status in inside)
    assert not any(retry.lists(status) for status in outside)


def test_entry_cannot_be_changed_after_loading(catalog: ProviderCatalog) -> None:
    provider: Provider = catalog.get("stripe")
    with pytest.raises(ValueError, match="frozen"):
        provider.display_name = "x"  # type: ignore[misc]  # what is tested
