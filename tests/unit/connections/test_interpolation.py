import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.connections.interpolation import (
    TemplateVariables,
    interpolate,
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


@settings(deadline=None)
@given(st.text(alphabet="${}()|ab64se.x ", max_size=40))
def test_any_text_is_a_template_that_ends(template: str) -> None:
    assert isinstance(interpolate(template, VARIABLES), str | None)
    assert isinstance(interpolate_url(template, VARIABLES), str | None)
    variables_in(template)
