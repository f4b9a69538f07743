import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.connections.interpolation import (
    RequestVariables,
    TemplateVariables,
    interpolate,
    interpolate_json,
    interpolate_url,
    variables_in,
)

VARIABLES = TemplateVariables(
    connection_config={
        "shop": "acme",
        "port": 8443,
        "sandbox": True,
        "empty": "",
        "region": {"name": "eu"},
        "evil": "evil.test/",
    },
    credentials={"apiKey": "k1", "username": "ada", "password": "", "type": "X"},
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no names at all", "no names at all"),
        ("Bearer ${apiKey}", "Bearer k1"),
        ("${credentials.apiKey}", "k1"),
        ("${ connectionConfig.shop }", "acme"),
        ("${connectionConfig.region.name}-${connectionConfig.port}", "eu-8443"),
        ("${connectionConfig.sandbox}", "true"),
        ("${connectionConfig.none || connectionConfig.shop}", "acme"),
        ("${connectionConfig.empty || connectionConfig.shop}", "acme"),
        ("https://${connectionConfig.none}.test || https://api.test", "https://api.test"),
        ("https://${connectionConfig.shop}.test || https://api.test", "https://acme.test"),
        ("Basic ${base64(${username}:${password})}", f"Basic {encoded('ada:')}"),
        ("Basic base64(${apiKey}:x)", f"Basic {encoded('k1:x')}"),
        ("${connectionConfig.none || base64(${apiKey})}", encoded("k1")),
        ("costs $5 {really}", "costs $5 {really}"),
        ("${unclosed", "${unclosed"),
    ],
)
def test_template_is_filled_in(template: str, text: str) -> None:
    assert interpolate(template, VARIABLES) == text


@pytest.mark.parametrize(
    "template",
    [
        "${connectionConfig.none}",
        "${connectionConfig.region}",
        "${connectionConfig.shop.deeper}",
        "${connectionConfig}",
        "${credentials}",
        "${accessToken}",
        "Bearer ${accessToken}",
        "${base64(${accessToken})}",
        "${connectionConfig.none || accessToken}",
        "${type}",
        "${apiKey.upper()}",
        "${__import__('os')}",
        "${1 + 1}",
        "${}",
    ],
)
def test_name_without_a_value_or_outside_the_list_leaves_the_template_unresolved(
    template: str,
) -> None:
    assert interpolate(template, VARIABLES) is None


FULL = TemplateVariables(
    connection_config={"shop": "acme"},
    credentials={"access_token": "t1", "client_id": "own", "raw": {"team": {"id": 7}}},
    client_id="app",
    client_secret="s3",
    integration_config={"region": "eu"},
    metadata={"plan": "gold"},
    steps=[{"session": {"id": "one"}}, {"token": "two"}],
    request=RequestVariables(method="POST", endpoint="/a?b=1", path="/a"),
    now=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Bearer ${accessToken}", "Bearer t1"),
        ("${credentials.accessToken}", "t1"),
        ("${credentials.clientId}/${credentials.client_id}", "own/own"),
        ("${credentials.raw.team.id}", "7"),
        ("${clientId}:${clientSecret}", "app:s3"),
        ("Basic ${base64(${clientId}:${clientSecret})}", f"Basic {encoded('app:s3')}"),
        ("${integrationConfig.region}-${metadata.plan}", "eu-gold"),
        ("${step1.session.id}+${step2.token}", "one+two"),
        ("${method} ${path} ${endpoint}", "POST /a /a?b=1"),
        ("${now}", "2026-01-02T03:04:05.678Z"),
        ("${now.seconds} ${now.milliseconds}", "1767323045 1767323045678"),
        ("${sha256(${clientSecret})}", hashlib.sha256(b"s3").hexdigest()),
        ("${base64url(??>>${clientId})}", "Pz8-PmFwcA"),
        ("q=${urlencode(${endpoint})}", "q=%2Fa%3Fb%3D1"),
        ("xbase64(${clientId})", "xbase64(app)"),
    ],
)
def test_everything_that_a_token_request_needs_can_be_named(template: str, text: str) -> None:
    assert interpolate(template, FULL) == text


@pytest.mark.parametrize(
    "template",
    [
        "${step3.token}",
        "${step0.token}",
        "${step1.session}",
        "${now.weekday}",
        "${integrationConfig}",
        "${metadata.none}",
        "${request.path}",
        "${client_secret}",
        "${clientSecret.length}",
    ],
)
def test_name_without_a_value_in_full_variables_leaves_the_template_unresolved(
    template: str,
) -> None:
    assert interpolate(template, FULL) is None


def test_client_of_a_connection_counts_where_the_integration_has_none() -> None:
    variables = TemplateVariables(credentials={"client_id": "own", "clientSecret": "s"})
    assert interpolate("${clientId}:${clientSecret}", variables) == "own:s"
    assert interpolate("${method}", variables) is None
    assert interpolate("${now}", variables) is None


def test_json_is_filled_in_and_what_does_not_resolve_is_left_out() -> None:
    template = {
        "auth": {"id": "${clientId}", "otp": "${credentials.otp}", "ttl": 60, "keep": True},
        "list": ["${connectionConfig.shop}", "${connectionConfig.none}", 1],
        "${clientId}": "key",
        "nothing": None,
    }
    assert interpolate_json(template, FULL) == {
        "auth": {"id": "app", "ttl": 60, "keep": True},
        "list": ["acme", 1],
        "${clientId}": "key",
    }


def test_value_is_never_taken_for_a_template() -> None:
    variables = TemplateVariables(
        connection_config={"a": "${apiKey} || base64(x)"}, credentials={"apiKey": "secret"}
    )
    assert interpolate("x-${connectionConfig.a}", variables) == "x-${apiKey} || base64(x)"


@pytest.mark.parametrize("value", ["evil.test/", "evil.test?", "evil.test#", "a@evil.test", "a\\b"])
def test_value_cannot_move_the_host_of_a_url(value: str) -> None:
    variables = TemplateVariables(connection_config={"shop": value})
    assert interpolate_url("https://${connectionConfig.shop}.example.com", variables) is None


@pytest.mark.parametrize(
    ("template", "value", "url"),
    [
        ("https://${connectionConfig.v}/api", "localhost:9000", "https://localhost:9000/api"),
        ("https://x.test/${connectionConfig.v}", "a/b", "https://x.test/a/b"),
        ("${connectionConfig.v}", "https://x.test/a", "https://x.test/a"),
        ("${connectionConfig.none} || https://x.test", "", "https://x.test"),
    ],
)
def test_url_template_is_filled_in(template: str, value: str, url: str) -> None:
    variables = TemplateVariables(connection_config={"v": value})
    assert interpolate_url(template, variables) == url


def test_names_of_a_template_are_listed_once_in_order() -> None:
    template = (
        "${a.b || connectionConfig.x}/${base64(${apiKey}:${apiKey})} || ${connectionConfig.y}"
    )
    assert variables_in(template) == ("a.b", "connectionConfig.x", "apiKey", "connectionConfig.y")


def test_credentials_stay_out_of_repr() -> None:
    assert "k1" not in repr(VARIABLES)
    assert "s3" not in repr(FULL)
    assert "t1" not in repr(FULL)


@given(st.text(alphabet="${}()|ab64seurlh2.x ", max_size=40))
def test_any_text_is_a_template_that_ends(template: str) -> None:
    assert isinstance(interpolate(template, VARIABLES), str | None)
    assert isinstance(interpolate_url(template, VARIABLES), str | None)
    variables_in(template)
