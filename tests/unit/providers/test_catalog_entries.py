"""Every entry of our own catalogue: complete for its mode, and consistent in itself."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import JsonValue

from perdure.connections.interpolation import (
    RequestVariables,
    TemplateVariables,
    interpolate,
    interpolate_json,
    interpolate_url,
    variables_in,
)
from perdure.providers.inputs import InputField
from perdure.providers.provider import AuthMode, Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.requests import merge_paginate

CATALOG = ProviderCatalog.load()

GENERIC = frozenset({"generic-api-key", "generic-basic", "generic-none"})

WITHOUT_VERIFICATION = GENERIC | {"google-docs", "google-sheet"}
"""APIs without a request that every token may make."""

CREDENTIALS: Mapping[AuthMode, dict[str, JsonValue]] = {
    AuthMode.API_KEY: {"type": "API_KEY", "apiKey": "key"},
    AuthMode.APP: {"type": "APP", "access_token": "t", "installation_id": "1"},
    AuthMode.BASIC: {"type": "BASIC", "username": "ada", "password": "secret"},
    AuthMode.JWT: {"type": "JWT", "token": "t"},
    AuthMode.NONE: {"type": "NONE"},
    AuthMode.OAUTH1: {"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s"},
    AuthMode.OAUTH2: {"type": "OAUTH2", "access_token": "t", "refresh_token": "r"},
    AuthMode.OAUTH2_CC: {"type": "OAUTH2_CC", "token": "t", "client_id": "c", "client_secret": "s"},
    AuthMode.SIGNATURE: {"type": "SIGNATURE", "username": "a", "password": "b", "token": "t"},
    AuthMode.TBA: {"type": "TBA", "token_id": "t", "token_secret": "s"},
    AuthMode.TWO_STEP: {"type": "TWO_STEP", "token": "t"},
}

PRESET = {"appPublicLink": "https://github.com/apps/acme"}
"""What the integration says, not the connection."""

entries = pytest.mark.parametrize("provider", CATALOG, ids=lambda provider: provider.name)


def filled(inputs: Mapping[str, InputField]) -> dict[str, JsonValue]:
    return {name: one.example or one.default_value or "x1" for name, one in inputs.items()}


def variables(provider: Provider, *, optional: bool = True) -> TemplateVariables:
    asked = {n: i for n, i in provider.connection_config.items() if optional or not i.optional}
    return TemplateVariables(
        connection_config={**PRESET, **filled(asked)},
        credentials={**filled(provider.credentials), **CREDENTIALS[provider.auth_mode]},
        client_id="client",
        client_secret="hush",
        request=RequestVariables("GET", "/a?b=c", "/a"),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )


def urls(provider: Provider) -> Iterator[str]:
    verification = provider.proxy.verification
    addresses = (
        provider.proxy.base_url,
        provider.authorization_url,
        provider.token_url_for(),
        provider.refresh_url,
        provider.request_url,
        verification.base_url_override if verification else None,
    )
    yield from (address for address in addresses if address is not None)


def templates(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from templates(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from templates(item)


def test_most_used_providers_are_there() -> None:
    names = {provider.name for provider in CATALOG}
    assert names >= {
        *("github", "gitlab", "slack", "hubspot", "salesforce", "stripe", "notion", "linear"),
        *("jira", "confluence", "asana", "zendesk", "intercom", "shopify", "google-drive"),
        *("google-calendar", "google-mail", "microsoft", "airtable", "clickup", "monday"),
        *("trello", "dropbox", "box", "discord", "zoom", "quickbooks", "xero", "mailchimp"),
        *("sendgrid", "twilio", "pipedrive", "freshdesk", "greenhouse-basic", "lever"),
        *("bamboohr", "gusto", "docusign", "calendly", "typeform", "figma"),
    }
    assert len(names) >= 45
    modes = {provider.auth_mode for provider in CATALOG}
    assert modes == set(CREDENTIALS)


@entries
def test_entry_is_complete(provider: Provider) -> None:
    assert provider.display_name
    assert provider.categories
    assert provider.proxy.base_url
    if provider.name not in GENERIC:
        assert provider.docs is not None
        assert provider.docs.startswith("https://")
    if provider.proxy.paginate is not None:
        merge_paginate({**provider.proxy.paginate}, None)
    if provider.name not in WITHOUT_VERIFICATION:
        assert provider.proxy.verification is not None
        assert all(path.startswith("/") for path in provider.proxy.verification.endpoints)
        assert provider.proxy.verification.endpoints
    assert provider.model_extra == {}
    assert provider.proxy.model_extra == {}
    assert provider.proxy.retry.model_extra == {}


@entries
def test_entry_has_what_its_mode_needs(provider: Provider) -> None:
    match provider.auth_mode:
        case AuthMode.OAUTH2:
            assert provider.authorization_url
            assert provider.token_url_for()
        case AuthMode.APP:
            assert provider.authorization_url
            assert provider.token_url_for()
            assert "installation_id" in provider.connection_config
        case AuthMode.OAUTH2_CC:
            assert provider.token_url_for()
            assert provider.token_params.get("grant_type") == "client_credentials"
        case AuthMode.OAUTH1:
            assert provider.request_url
            assert provider.authorization_url
            assert provider.token_url_for()
            assert provider.signature_method
        case AuthMode.TBA:
            assert "accountId" in provider.connection_config
            assert provider.signature_method
        case AuthMode.JWT:
            assert provider.signature is not None
            assert provider.signature.protocol in {"RSA", "HMAC", "EC"}
            assert provider.token is not None
            assert provider.token.signing_key
            assert provider.token.header.get("alg")
            assert provider.credentials
        case AuthMode.SIGNATURE:
            assert provider.signature is not None
            assert provider.signature.protocol == "WSSE"
            assert provider.token is not None
        case AuthMode.TWO_STEP:
            assert provider.token_url_for()
            assert provider.token_response is not None
            assert provider.credentials
        case AuthMode.API_KEY:
            placed = (*provider.proxy.headers.values(), *provider.proxy.query.values())
            assert any("apiKey" in variables_in(template) for template in placed)
        case AuthMode.BASIC | AuthMode.NONE:
            assert provider.authorization_url is None
            assert provider.token_url is None


@entries
@pytest.mark.parametrize("optional", [True, False], ids=["everything", "only-what-is-needed"])
def test_addresses_are_complete_and_use_tls(provider: Provider, optional: bool) -> None:
    known = variables(provider, optional=optional)
    for template in urls(provider):
        address = interpolate_url(template, known)
        assert address is not None, template
        parts = urlsplit(address)
        local = parts.hostname == "127.0.0.1"
        assert parts.scheme == "https" or local, address
        assert parts.hostname, address
        assert "${" not in address
        assert not address.endswith("/")


@entries
def test_what_is_sent_is_complete(provider: Provider) -> None:
    known = variables(provider)
    for template in (*provider.proxy.headers.values(), *provider.proxy.query.values()):
        assert interpolate(template, known) is not None, template
    for template in provider.proxy.verification.endpoints if provider.proxy.verification else ():
        assert interpolate(template, known) is not None, template
    carried: list[JsonValue] = [provider.token_params, dict(provider.token_headers)]
    if provider.token is not None:
        carried += [provider.token.header, provider.token.payload, provider.token.signing_key]
    for value in carried:
        filled_in = interpolate_json(value, known)
        assert len(list(templates(filled_in))) == len(list(templates(value)))
        assert "${" not in "".join(templates(filled_in))


@entries
def test_templates_name_only_what_is_asked_for(provider: Provider) -> None:
    entry = {k: v for k, v in CATALOG.entry(provider.name).items() if k != "webhook"}
    for template in templates(entry):
        for path in variables_in(template):
            root, _, name = path.partition(".")
            if root == "connectionConfig" and name not in PRESET:
                assert name in provider.connection_config, path
            if root == "credentials":
                assert name in provider.credentials, path


@entries
def test_inputs_explain_themselves(provider: Provider) -> None:
    # Parameters are kept and shown as they are; secrets belong to the credentials.
    assert not any(asked.secret for asked in provider.connection_config.values())
    for name, asked in (*provider.connection_config.items(), *provider.credentials.items()):
        assert asked.title, name
        assert asked.model_extra == {}, name
        for value in (asked.example, asked.default_value):
            assert value is None or asked.fault(value) is None, name
    if provider.auth_mode is AuthMode.BASIC:
        assert set(provider.credentials) <= {"username", "password"}


@entries
def test_values_inside_of_hosts_cannot_move_the_host(provider: Provider) -> None:
    hostile = dict.fromkeys(provider.connection_config, "evil.test/x?")
    known = TemplateVariables(
        connection_config={**PRESET, **hostile}, credentials={"username": "a"}
    )
    for template in urls(provider):
        if re.match(r"https://[^/]*\$\{", template):
            address = interpolate_url(template, known)
            assert address is None or "evil.test" not in str(urlsplit(address).netloc)


@entries
def test_no_connection_says_which_host_gets_the_secret_of_an_application(
    provider: Provider,
) -> None:
    if provider.auth_mode not in {AuthMode.OAUTH1, AuthMode.OAUTH2, AuthMode.APP}:
        return
    for template in (provider.token_url_for(), provider.refresh_url, provider.request_url):
        for option in (template or "").split("||"):
            host = option.strip().removeprefix("https://").partition("/")[0]
            for name in re.findall(r"\$\{connectionConfig\.(\w+)\}", host):
                fixed = re.search(rf"\$\{{connectionConfig\.{name}\}}\.[a-z]+\.[a-z]+$", host)
                assert fixed or provider.connection_config[name].enum, template


def test_sandboxes_are_other_servers() -> None:
    for provider in CATALOG:
        for ending in ("-sandbox", "-demo"):
            if provider.name.endswith(ending):
                real = CATALOG.get(provider.name.removesuffix(ending))
                assert provider.auth_mode is real.auth_mode
                assert set(urls(provider)) != set(urls(real))


def test_documentation_lists_every_entry() -> None:
    text = (Path(__file__).parents[3] / "docs" / "providers.md").read_text()
    for provider in CATALOG:
        (row,) = [
            line for line in text.splitlines() if line.startswith(f"| `{provider.auth_mode}` |")
        ]
        assert f"`{provider.name}`" in row
    listed = re.findall(
        r"`([a-z0-9-]+)`", "\n".join(re.findall(r"^\| `[A-Z0-9_]+` \|.*$", text, re.M))
    )
    assert sorted(listed) == [provider.name for provider in CATALOG]
