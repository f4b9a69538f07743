from pathlib import Path

import pytest

from perdure.errors import NotFoundError, StartupError
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.proxy import ProviderRetry
from perdure.proxy.requests import CursorPaginate, LinkPaginate, merge_paginate


@pytest.fixture(scope="module")
def catalog() -> ProviderCatalog:
    return ProviderCatalog.load()


def test_stripe_lists_start_after_the_last_id(catalog: ProviderCatalog) -> None:
    paginate = merge_paginate(catalog.get("stripe-api-key").proxy.paginate, None)
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
    assert "did you mean 'stripe'" in raised.value.message
    assert "strip" not in catalog
    assert "stripe" in catalog
    assert len(catalog) == len(list(catalog))


def test_operators_file_adds_replaces_and_aliases(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        """
        acme:
          display_name: Acme
          auth_mode: OAUTH2
          authorization_url: https://acme.test/oauth
          scope_separator: ","
          made_for: another engine
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
          alias: stripe-api-key
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
    assert acme.authorization_url == "https://acme.test/oauth"
    assert acme.scope_separator == ","
    assert acme.proxy.decompress is True
    assert acme.model_dump()["made_for"] == "another engine"
    assert catalog.entry("acme")["proxy"]["headers"] == {"X-Version": 3, "X-Beta": True}
    alias = catalog.get("stripe-eu")
    assert alias.proxy.base_url == "https://eu.example.com"
    assert alias.proxy.paginate == catalog.get("stripe-api-key").proxy.paginate
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
        ("acme:\n  display_name: A\n  auth_mode: MAGIC", ":3:14: auth_mode of .*'acme'"),
        ("x: {display_name: X, auth_mode: NONE}\nacme: {auth_mode: NONE}", ":2:1: display_name of"),
        ("acme: {alias: nowhere}", ":1:15: .*'nowhere'.*'acme' does not exist"),
        ("acme: {alias: strip}", "did you mean 'stripe'"),
        ("a: {alias: b}\nb: {alias: a}", "leads back to itself"),
        ("- acme", ":1:1: .*must map the name"),
        ("acme: 1", ":1:7: .*must map the name"),
        ("acme: {", r":1:8: .*not valid YAML"),
        ("acme: {display_name: A}\nacme: {}", r":2:1: .*already there, in line 1"),
        (
            "acme: {display_name: A, auth_mode: NONE, proxy: {retry: {error_code: [200, 4x3]}}}",
            r":1:76: proxy\.retry\.error_code\.1 of",
        ),
        (
            "acme: {display_name: A, auth_mode: NONE,"
            " proxy: {retry: {in_body: {path: x, value: '('}}}}",
            r"proxy\.retry\.in_body\.value of .*regular expression",
        ),
        (
            "acme: {display_name: A, auth_mode: JWT, token: {expires_in_ms: soon}}",
            r":1:64: token\.expires_in_ms of",
        ),
        ("acme: {display_name: A, auth_mode: TBA, token_url: [1]}", r":1:52: token_url\.str of"),
        ("acme: {display_name: A, auth_mode: OAUTH2, body_format: yaml}", "body_format of"),
    ],
)
def test_bad_file_stops_the_start_and_says_where(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(content)
    with pytest.raises(StartupError, match=told) as raised:
        ProviderCatalog.load(file)
    assert raised.value.code == "invalid_providers"
    assert str(file) in raised.value.message


def test_every_fault_of_a_folder_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: {auth_mode: NONE}\ntwo: {alias: one}")
    (tmp_path / "b.yaml").write_text("three: {display_name: 3, auth_mode: }\nfour: [")
    (tmp_path / "c.yaml").write_bytes(b"five: \xff")
    (tmp_path / "d.yaml").write_text("six:\n  display_name: 6\n  auth_mode: NO\n  docs: {}\n")

    with pytest.raises(StartupError) as raised:
        ProviderCatalog.load(tmp_path)

    lines = raised.value.message.splitlines()
    assert [line.removeprefix(f"{tmp_path}/").split(" ")[0] for line in lines] == [
        "b.yaml:2:8:",
        "c.yaml:",
        "a.yaml:1:1:",
        "a.yaml:2:1:",
        "d.yaml:3:14:",
        "d.yaml:4:9:",
    ]


def test_value_of_a_fault_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text("acme: {display_name: A, auth_mode: NONE, token_params: pa55word}")
    with pytest.raises(StartupError) as raised:
        ProviderCatalog.load(file)
    assert "pa55word" not in raised.value.message


def test_words_mean_what_they_do_in_existing_files(tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(
        """
        acme:
          display_name: Acme
          auth_mode: OAUTH2
          authorization_params: {prompt: no, v: 1.50, flag: true}
          proxy:
            headers: {x-version: 2022-06-28}
          connection_config:
            country: {type: string, title: Country, enum: [NO, SE]}
        """
    )
    acme = ProviderCatalog.load(file).get("acme")
    assert acme.authorization_params == {"prompt": "no", "v": "1.5", "flag": "true"}
    assert acme.proxy.headers == {"x-version": "2022-06-28"}
    assert acme.connection_config["country"].enum == ("NO", "SE")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("GREENHOUSE", ["greenhouse-basic"]),
        ("x (oauth", ["twitter", "twitter-v2"]),
        ("e-signature", ["docusign", "docusign-sandbox"]),
        (" nothing of the kind ", []),
    ],
)
def test_search_finds_names_and_categories(
    catalog: ProviderCatalog, text: str, names: list[str]
) -> None:
    assert [provider.name for provider in catalog.search(text)] == names


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
    provider: Provider = catalog.get("stripe-api-key")
    with pytest.raises(ValueError, match="frozen"):
        provider.display_name = "x"
