"""Which declared endpoint a request means."""

from __future__ import annotations

import time
from textwrap import dedent, indent
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.endpoints import EndpointIndex, PathParameter, PathTemplate
from config.nango_yaml import parse_nango_yaml
from config.project import NangoConfig

MODELS = """
models:
  Ticket: {id: string, number: int}
  User: {id: string}
  Setting: {value: string}
"""


def config_of(integrations: str) -> NangoConfig:
    result = parse_nango_yaml(f"integrations:\n{indent(dedent(integrations), '  ')}\n{MODELS}")
    assert result.config is not None, result.errors
    return result.config


def actions(*endpoints: str, integration: str = "desk") -> str:
    lines = [f"  {integration}:", "    actions:"]
    for at, endpoint in enumerate(endpoints):
        method, path = endpoint.split(" ")
        lines.append(f"      a{at}: {{endpoint: {{method: {method}, path: '{path}'}}}}")
    return "\n".join(lines) + "\n"


def index_of(*endpoints: str) -> EndpointIndex:
    return EndpointIndex(config_of(actions(*endpoints)))


def found(index: EndpointIndex, request: str, integration: str = "desk") -> tuple | None:
    method, path = request.split(" ")
    match = index.find(integration, method, path)
    return match and (match.target.script.name, dict(match.values))


MODELS_BY_NAME = {model.name: model for model in config_of(actions("GET /x")).models}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tickets", []),
        ("/tickets/{Ticket:id}", [("id", "Ticket", "id")]),
        ("/tickets/{Ticket:number}", [("number", "Ticket", "number")]),
        ("/tickets/{Ticket}", [("id", "Ticket", "id")]),
        ("/settings/{Setting}", [("Setting", "Setting", "Setting")]),
        ("/tickets/:id", [("id", None, "id")]),
        ("/tickets/{id}", [("id", None, "id")]),
        ("/{User:id}/{Ticket:id}", [("User_id", "User", "id"), ("Ticket_id", "Ticket", "id")]),
        ("/users/:id/t/{Ticket:id}", [("id", None, "id"), ("Ticket_id", "Ticket", "id")]),
        ("/a/:id/b/:id", [("id", None, "id"), ("id_2", None, "id")]),
        ("/{User:id}/{User:id}", [("User_id", "User", "id"), ("User_id_2", "User", "id")]),
        ("/t/{Ticket:id}.json", [("id", "Ticket", "id")]),
        ("/calendars/v3:batch", []),
        ("/v3/a:b/:c.d", []),
        ("/{}/}{", []),
    ],
)
def test_placeholders_of_a_path(path: str, expected: list[tuple]) -> None:
    template = PathTemplate.parse(path, MODELS_BY_NAME)
    assert list(template.parameters) == [PathParameter(*names) for names in expected]


def test_path_is_written_for_clients_with_plain_names() -> None:
    template = PathTemplate.parse("/users/:id/t/{Ticket:number}.json/{}", MODELS_BY_NAME)
    assert template.url == "/users/{id}/t/{number}.json/%7B%7D"
    assert template.shape == "/users/{}/t/{}.json/%7B%7D"


def test_sync_has_one_endpoint_for_each_output() -> None:
    index = EndpointIndex(
        config_of("""
          desk:
            syncs:
              both:
                runs: every day
                output: [Ticket, User]
                endpoint: [GET /tickets, GET /users]
        """)
    )
    served = [(target.endpoint.path, target.model) for target in index.targets]
    assert served == [("/tickets", "Ticket"), ("/users", "User")]


def test_literal_text_wins_over_placeholders() -> None:
    index = index_of(
        "GET /t/{Ticket:id}", "GET /t/{Ticket:id}.json", "GET /t/latest", "GET /{User}/x/y"
    )
    assert found(index, "GET /t/latest") == ("a2", {})
    assert found(index, "GET /t/7.json") == ("a1", {"id": "7"})
    assert found(index, "GET /t/7") == ("a0", {"id": "7"})
    assert found(index, "GET /t/x/y") == ("a3", {"id": "t"})


def test_method_is_looked_for_behind_a_placeholder_too() -> None:
    index = index_of("GET /t/latest", "DELETE /t/{Ticket:id}", "PATCH /t/:key")
    assert found(index, "DELETE /t/latest") == ("a1", {"id": "latest"})
    assert found(index, "PATCH /t/9") == ("a2", {"key": "9"})
    assert found(index, "PUT /t/latest") is None
    assert index.methods("desk", "/t/latest") == ("DELETE", "GET", "PATCH")
    assert index.methods("desk", "/t/9") == ("DELETE", "PATCH")
    assert index.methods("desk", "/nothing") == ()


def test_method_and_path_are_shared_by_integrations() -> None:
    config = config_of(
        actions("GET /t", "GET /t/latest")
        + actions("GET /t", "GET /t/:id", integration="crm")
        + actions("GET /own", integration="other")
    )
    index = EndpointIndex(config)
    assert found(index, "GET /t", "desk") == ("a0", {})
    assert found(index, "GET /t", "crm") == ("a0", {})
    assert found(index, "GET /t/latest", "crm") == ("a1", {"id": "latest"})
    assert found(index, "GET /t", "other") is None
    assert found(index, "GET /t", "nobody") is None
    assert index.integrations("GET", "/t") == ("desk", "crm")
    assert index.integrations("GET", "/t/9") == ("crm",)


def test_encoded_slash_belongs_to_the_value() -> None:
    index = index_of("GET /t/{Ticket:id}")
    assert found(index, "GET /t/a%2Fb%20c") == ("a0", {"id": "a/b c"})
    assert found(index, "GET /t/a/b") is None
    assert found(index, "GET /t/") is None


def test_slash_at_the_end_makes_no_difference_unless_declared() -> None:
    index = index_of("GET /t", "GET /u/", "GET /u")
    assert found(index, "GET /t/") == ("a0", {})
    assert found(index, "GET /t//") is None
    assert found(index, "GET /u/") == ("a1", {})
    assert found(index, "GET /u") == ("a2", {})


def test_several_placeholders_share_a_segment() -> None:
    index = index_of("GET /{User:id}-{Ticket:number}.json", "GET /c/{User:id}{Ticket:number}")
    assert found(index, "GET /a-b-c.json") == ("a0", {"id": "a", "number": "b-c"})
    assert found(index, "GET /c/abc") == ("a1", {"id": "a", "number": "bc"})
    assert found(index, "GET /c/a") is None


def test_long_path_is_matched_quickly() -> None:
    index = index_of("GET /{User:id}-{Ticket:id}-{Ticket:number}-{Setting}.json")
    began = time.process_time()
    assert found(index, "GET /" + "-" * 60_000) is None
    assert index.near("desk", "GET", "/" + "-" * 60_000) == ()
    assert time.process_time() - began < 10


def test_endpoints_that_were_perhaps_meant_are_near() -> None:
    index = index_of("GET /tickets", "POST /tickets", "GET /users/{User:id}", "DELETE /zones")
    assert index.near("desk", "GET", "/ticket")[0] == "GET /tickets"
    assert "GET /users/{User:id}" in index.near("desk", "GET", "/user/{User:id}")
    assert index.near("desk", "GET", "/qqqqqqqqqqqq") == ()
    assert index.near("nobody", "GET", "/ticket") == ()


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_SEGMENT = st.sampled_from(["tickets", "users", ":a", ":b", "{Ticket:id}", "{User}", "x-{Setting}"])


@given(st.lists(_SEGMENT, min_size=1, max_size=5), st.lists(_TEXT, min_size=5, max_size=5))
def test_values_come_back_as_they_were_put_into_the_path(
    segments: list[str], texts: list[str]
) -> None:
    config = config_of(actions(f"GET /{'/'.join(segments)}"))
    index = EndpointIndex(config)
    template = index.targets[0].template
    values = dict(zip((p.name for p in template.parameters), texts, strict=False))
    path = template.url
    for name, text in values.items():
        path = path.replace(f"{{{name}}}", quote(text, safe=""), 1)

    match = index.find("desk", "GET", path)

    assert match is not None
    assert dict(match.values) == values


@given(st.lists(st.lists(_SEGMENT, min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_declared_path_is_found_whatever_else_is_declared(
    paths: list[list[str]], data: st.DataObject
) -> None:
    declared = list(dict.fromkeys("/" + "/".join(segments) for segments in paths))
    index = EndpointIndex(config_of(actions(*(f"GET {path}" for path in declared))))
    template = data.draw(st.sampled_from(index.targets)).template
    path = "".join(part if isinstance(part, str) else "value" for part in template.parts)

    match = index.find("desk", "GET", path)

    assert match is not None
    assert match.target.template.shape == template.shape


@given(st.text(max_size=40))
def test_no_request_breaks_the_index(path: str) -> None:
    index = index_of("GET /t/{Ticket:id}", "GET /t/{Ticket:id}.json", "POST /t")
    for request_path in (path, f"/{path}", quote(path), f"/t/{path}"):
        index.find("desk", "GET", request_path)
        index.methods("desk", request_path)
        index.near("desk", "GET", request_path)
