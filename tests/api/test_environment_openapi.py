"""The description of a project's endpoints, and the page that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.environment_openapi import environment_openapi
from config.nango_yaml import parse_nango_yaml
from perdure.app.container import Container
from perdure.db.records import RecordSet
from perdure.ids import BundleHash
from perdure.records.prepare import prepare_batch
from tests.api.calls import error_of
from tests.support.project import project
from tests.support.stack import Stack

CONFIG = """
integrations:
  desk:
    syncs:
      tickets:
        description: All tickets.
        runs: every day
        output: [Ticket, User]
        endpoint:
          - {method: GET, path: /tickets, group: Tickets}
          - {method: GET, path: "/users/{User:id}", group: People}
    actions:
      create-ticket:
        description: Opens a ticket.
        input: New
        output: Ticket
        endpoint: {method: POST, path: /tickets, group: Tickets}
      update-ticket:
        input: Update
        output: Ticket
        endpoint: {method: PUT, path: "/tickets/{Ticket:number}"}
      touch: {input: OnlyNumber, endpoint: {method: PATCH, path: "/tickets/{Ticket:number}"}}
      find: {input: Search, output: "Ticket[]", endpoint: GET /find}
      flip: {input: "Ticket | null", output: string, endpoint: POST /flip}
      ping: {endpoint: GET /ping}
  crm:
    syncs:
      contacts:
        description: All contacts.
        runs: every day
        output: Contact
        endpoint: GET /tickets
    actions:
      change: {input: New, output: Contact, endpoint: {method: PUT, path: "/tickets/:key"}}
      change-again: {input: New, endpoint: {method: PUT, path: "/tickets/:other"}}
models:
  Ticket:
    id: string
    number: number
    state: open | closed | null
    opened: date
    author: User
    related?: Ticket[]
    __string: any
  User: {id: number, name: string}
  Contact: {id: string, Error: string, $ref: string}
  New: {title: string}
  Update: {number: number, title: string}
  OnlyNumber: {number: number}
  Search: {text: string, "page?": number, "author?": User, "tags?": "string[]", "cursor?": string}
  Error: {oops: string}
  TicketRecord: {id: string}
"""


def document_of(source: str) -> dict[str, Any]:
    parsed = parse_nango_yaml(source)
    assert parsed.config is not None, parsed.errors
    document = environment_openapi("dev", BundleHash("a" * 64), parsed.config)
    OpenAPIV31SpecValidator(document).validate()
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(CONFIG)


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def parameters(document: dict[str, Any], operation: dict[str, Any]) -> dict[tuple[str, str], Any]:
    found = [resolved(document, parameter) for parameter in operation["parameters"]]
    named = {(parameter["in"], parameter["name"]): parameter for parameter in found}
    assert len(named) == len(found)
    return named


def content(part: dict[str, Any]) -> dict[str, Any]:
    return part["content"]["application/json"]["schema"]


def answer_of(operation: dict[str, Any]) -> dict[str, Any]:
    return content(operation["responses"]["200"])


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def judge(document: dict[str, Any], name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(schema)


def test_every_endpoint_is_listed_once(document: dict[str, Any]) -> None:
    operations = {
        (method.upper(), path): operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == {
        ("GET", "/v1/tickets"): "get_tickets",
        ("POST", "/v1/tickets"): "post_tickets",
        ("GET", "/v1/users/{id}"): "get_users_id",
        ("PUT", "/v1/tickets/{number}"): "put_tickets_number",
        ("PATCH", "/v1/tickets/{number}"): "patch_tickets_number",
        ("GET", "/v1/find"): "get_find",
        ("POST", "/v1/flip"): "post_flip",
        ("GET", "/v1/ping"): "get_ping",
    }


def test_integrations_that_have_an_endpoint_are_the_values_of_the_header(
    document: dict[str, Any],
) -> None:
    def keys(path: str, method: str) -> list[str]:
        found = parameters(document, document["paths"][path][method])
        assert found["header", "Connection-Id"]["required"]
        return found["header", "Provider-Config-Key"]["schema"]["enum"]

    assert keys("/v1/tickets", "get") == ["desk", "crm"]
    assert keys("/v1/tickets", "post") == ["desk"]
    assert keys("/v1/tickets/{number}", "put") == ["desk", "crm"]


def test_group_is_a_tag(document: dict[str, Any]) -> None:
    assert document["tags"] == [{"name": "Tickets"}, {"name": "People"}]
    assert document["paths"]["/v1/tickets"]["get"]["tags"] == ["Tickets"]
    assert document["paths"]["/v1/users/{id}"]["get"]["tags"] == ["People"]
    assert "tags" not in document["paths"]["/v1/find"]["get"]


def test_descriptions_are_those_of_the_scripts(document: dict[str, Any]) -> None:
    shared = document["paths"]["/v1/tickets"]["get"]
    assert shared["summary"] == "Records of Ticket / Records of Contact"
    assert shared["description"] == "- `desk`: All tickets.\n- `crm`: All contacts."
    assert document["paths"]["/v1/tickets"]["post"]["description"] == "Opens a ticket."
    assert "description" not in document["paths"]["/v1/find"]["get"]


def test_sync_takes_the_query_of_records(document: dict[str, Any]) -> None:
    found = parameters(document, document["paths"]["/v1/tickets"]["get"])
    names = {name for place, name in found if place == "query"}
    assert names == {"variant", "cursor", "limit", "filter", "modified_after", "ids"}
    assert found["query", "limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10000,
        "default": 100,
    }
    assert not any(found["query", name].get("required") for name in names)


def test_models_keep_their_names_and_ours_give_way(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Error"]["properties"] == {"oops": {"type": "string"}}
    assert schemas["TicketRecord"]["properties"] == {"id": {"type": "string"}}
    assert content(document["paths"]["/v1/find"]["get"]["responses"]["default"]) == {
        "$ref": "#/components/schemas/Error_2"
    }
    assert {"TicketRecord_2", "TicketRecordPage", "Error_2"} <= set(schemas)
    assert set(schemas["Contact"]["properties"]) == {"id", "Error", "$ref"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert all(resolved(document, {"$ref": reference}) for reference in found)
    assert "#/components/schemas/User" in found


def test_action_takes_its_input_and_gives_its_output(document: dict[str, Any]) -> None:
    create = document["paths"]["/v1/tickets"]["post"]
    assert create["requestBody"]["required"]
    assert content(create["requestBody"]) == {"$ref": "#/components/schemas/New"}
    assert answer_of(create) == {"$ref": "#/components/schemas/Ticket"}

    find = document["paths"]["/v1/find"]["get"]
    assert resolved(document, answer_of(find)) == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Ticket"},
    }
    flip = document["paths"]["/v1/flip"]["post"]
    assert len(resolved(document, content(flip["requestBody"]))["oneOf"]) == 2
    assert resolved(document, answer_of(flip)) == {"type": "string"}
    assert answer_of(document["paths"]["/v1/ping"]["get"]) == {}


def test_input_of_a_get_is_its_query(document: dict[str, Any]) -> None:
    find = document["paths"]["/v1/find"]["get"]
    found = parameters(document, find)
    query = {name: parameter for (place, name), parameter in found.items() if place == "query"}
    assert [*query] == ["text", "page", "author", "tags", "cursor"]
    assert [name for name, parameter in query.items() if parameter["required"]] == ["text"]
    assert "content" in query["author"]
    assert "schema" in query["tags"]
    assert "requestBody" not in find


def test_body_need_not_repeat_the_path(document: dict[str, Any]) -> None:
    update = document["paths"]["/v1/tickets/{number}"]["put"]
    desk, crm = content(update["requestBody"])["anyOf"]
    assert desk["required"] == ["title"]
    assert set(desk["properties"]) == {"number", "title"}
    assert crm == {"$ref": "#/components/schemas/New"}

    touch = document["paths"]["/v1/tickets/{number}"]["patch"]
    assert not touch["requestBody"]["required"]
    assert "required" not in content(touch["requestBody"])


def test_value_in_a_path_has_the_type_of_its_field(document: dict[str, Any]) -> None:
    def schema(path: str, method: str, name: str) -> Any:
        return parameters(document, document["paths"][path][method])["path", name]["schema"]

    assert schema("/v1/tickets/{number}", "patch", "number") == {"type": "number"}
    # One integration's number is another one's `:key`.
    assert schema("/v1/tickets/{number}", "put", "number") == {
        "anyOf": [{"type": "number"}, {"type": "string"}]
    }
    # Ids of records are strings, whatever the model says.
    assert schema("/v1/users/{id}", "get", "id") == {"type": "string"}


def test_document_says_who_may_call(document: dict[str, Any]) -> None:
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"] == [
        {name: [] for name in document["components"]["securitySchemes"]}
    ]


@pytest.mark.parametrize(
    "source",
    [
        "integrations: {a: {syncs: {}}}\nmodels: {}",
        "integrations: {a: {b: {returns: M, runs: every day}}}\nmodels: {M: {id: string}}",
        "integrations: {a: {actions: {b: {endpoint: PROPFIND /x}}}}\nmodels: {}",
        "integrations: {a: {actions: {b: {endpoint: GET /x, input: Missing, output: [A, A2]}}}}\n"
        "models: {A: {}, A2: {__string: any}}",
        "integrations: {a: {actions: {b: {endpoint: {path: '/x/{A}/y/:a.b/{A:id}'}}}}}\n"
        "models: {A: {id: A}}",
        "integrations: {a: {actions: {b: {endpoint: 'GET /x/{A}/{A:key}', input: A}}}}\n"
        "models: {A: {key: 'A[]', l: A, 'm?': 1 | 2 | true}}",
    ],
)
def test_document_is_valid_whatever_the_file_holds(source: str) -> None:
    document_of(source)


# Over HTTP.


async def test_document_is_that_of_what_is_deployed(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    path = f"/openapi/{environment.environment.name}.json"
    before = (await api.get(path)).json()
    OpenAPIV31SpecValidator(before).validate()
    assert before["paths"] == {}

    bundle = await environment.deploy(project(typed=True))

    answer = await api.get(path)
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]) == {"/v1/issues", "/v1/echo"}
    assert document["info"]["title"] == f"Integrations of {environment.environment.name}"
    assert document["info"]["version"] == bundle[:12]


async def test_answers_are_what_the_document_says(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    await environment.deploy(project())
    connection = await environment.connect("http://127.0.0.1:1")
    await environment.container.database.records.save(
        RecordSet(connection.key, "Issue"),
        prepare_batch([{"id": n, "title": "t"} for n in range(1, 4)]),
    )
    document = (await api.get(f"/openapi/{environment.environment.name}.json")).json()
    named = {"connection-id": "acme", "provider-config-key": "tracker"}

    page = (await api.get("/v1/issues?limit=2", headers=named)).json()
    refusal = (await api.get("/v1/issues?limit=0", headers=named)).json()

    assert len(page["records"]) == 2
    judge(document, "IssueRecordPage").validate(page)
    judge(document, "Error").validate(refusal)
    del page["records"][0]["_nango_metadata"]
    assert not judge(document, "IssueRecordPage").is_valid(page)


async def test_document_of_another_environment_is_not_found(
    container: Container, api: httpx.AsyncClient
) -> None:
    other = await Stack.create(container)
    answer = await api.get(f"/openapi/{other.environment.name}.json")
    assert error_of(answer) == (404, "not_found")
    assert error_of(await api.get("/openapi/nowhere.json")) == (404, "not_found")


async def test_document_needs_the_key(stranger: httpx.AsyncClient, environment: Stack) -> None:
    answer = await stranger.get(f"/openapi/{environment.environment.name}.json")
    assert error_of(answer) == (401, "missing_auth_header")


async def test_page_is_the_same_for_everybody_and_everything(
    stranger: httpx.AsyncClient, api: httpx.AsyncClient, environment: Stack
) -> None:
    own = await api.get(f"/docs/{environment.environment.name}")
    foreign = await stranger.get("/docs/nowhere")
    assert own.status_code == 200
    assert own.headers["content-type"].startswith("text/html")
    assert own.content == foreign.content
    assert environment.environment.name not in own.text


async def test_page_loads_nothing_from_elsewhere(stranger: httpx.AsyncClient) -> None:
    page = await stranger.get("/docs/dev")
    policy = page.headers["content-security-policy"]
    assert "http" not in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy

    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assets = [link for link in links if not link.startswith("data:")]
    assert len(assets) == 4
    for link in assets:
        assert link.startswith("assets/")
        asset = await stranger.get(f"/docs/{link}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].startswith(("text/css", "text/javascript"))


@pytest.mark.parametrize(
    "path", ["/docs/assets/nothing.js", "/docs/assets/..%2Fapp.py", "/docs/a/b"]
)
async def test_nothing_else_lies_beside_the_page(stranger: httpx.AsyncClient, path: str) -> None:
    assert error_of(await stranger.get(path)) == (404, "not_found")
