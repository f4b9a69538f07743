"""The endpoints that a project declares."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import httpx
import pytest

from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.records.prepare import prepare_batch
from tests.api.calls import error_of
from tests.support.stack import Stack

CONFIG = """
integrations:
  tracker:
    syncs:
      both:
        runs: every day
        auto_start: false
        output: [Issue, User]
        endpoint:
          - GET /issues
          - {method: GET, path: /users, group: People}
      one:
        runs: every day
        auto_start: false
        output: Label
        endpoint: {method: GET, path: "/repos/{User:id}/labels/{Label:id}"}
    actions:
      create: {endpoint: POST /issues, input: New, output: Seen}
      search: {endpoint: GET /search, input: Search, output: Seen}
      close: {endpoint: {method: PUT, path: "/issues/{Issue:id}"}, output: Seen}
      remove: {endpoint: {method: DELETE, path: "/issues/:id"}, input: "Search", output: Seen}
  crm:
    syncs:
      people:
        runs: every day
        auto_start: false
        output: Person
        endpoint: GET /users
    actions:
      create: {endpoint: POST /issues, output: Seen}
models:
  Issue: {id: string, title: string}
  User: {id: string, title: string}
  Label: {id: string, title: string}
  Person: {id: string, title: string}
  New: {title: string}
  Search: {"id?": string, "page?": number, "open?": boolean, "tags?": "string[]"}
  Seen: {by: string, input: any}
"""

SYNC = "async def fetch_data(nango) -> None:\n    pass\n"

ECHO = """
async def run_action(nango, input):
    return {{"by": "{name}", "input": input}}
"""


def project() -> dict[str, str]:
    files = {"nango.yaml": CONFIG}
    for name in ("tracker/syncs/both", "tracker/syncs/one", "crm/syncs/people"):
        files[f"{name}.py"] = SYNC
    for name in ("create", "search", "close", "remove"):
        files[f"tracker/actions/{name}.py"] = dedent(ECHO.format(name=f"tracker {name}"))
    files["crm/actions/create.py"] = dedent(ECHO.format(name="crm create"))
    return files


async def connect(stack: Stack, integration: str = "tracker") -> Connection:
    database = stack.container.database
    await database.integrations.create(stack.environment.id, integration, "generic-api-key")
    connection, _ = await database.connections.save(
        stack.environment.id,
        integration,
        "acme",
        {"type": "API_KEY", "apiKey": "key"},
        connection_config={"baseUrl": "http://127.0.0.1:1"},
    )
    return connection


async def save(stack: Stack, connection: Connection, model: str, *ids: str, **target: str) -> None:
    await stack.container.database.records.save(
        RecordSet(connection.key, model, **target),
        prepare_batch([{"id": record_id, "title": model} for record_id in ids]),
    )


async def call(
    client: httpx.AsyncClient, request: str, integration: str = "tracker", **options: Any
) -> httpx.Response:
    method, path = request.split(" ")
    named = {"connection-id": "acme", "provider-config-key": integration}
    headers = named | options.pop("headers", {})
    return await client.request(method, f"/v1{path}", headers=headers, **options)


def titles(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [record["title"] for record in answer.json()["records"]]


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["records"]]


@pytest.fixture
async def connection(environment: Stack) -> Connection:
    """Connection `acme` of integration `tracker`, with the project deployed."""
    await environment.deploy(project())
    return await connect(environment)


@pytest.fixture
async def acting(live: httpx.AsyncClient, stack: Stack) -> httpx.AsyncClient:
    """A client of a stack on which the project's actions run."""
    await stack.deploy(project())
    await connect(stack)
    await connect(stack, "crm")
    return live


# Records.


async def test_endpoint_of_a_sync_answers_as_records_does(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "Issue", "1", "2", "3")

    answer = await call(api, "GET /issues")

    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    records = await api.get("/records?model=Issue", headers=named)
    assert len(answer.json()["records"]) == 3
    assert answer.content == records.content
    assert answer.headers["content-type"] == "application/json"


async def test_each_output_has_its_endpoint(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "Issue", "1")
    await save(environment, connection, "User", "2")

    assert titles(await call(api, "GET /issues")) == ["Issue"]
    assert titles(await call(api, "GET /users")) == ["User"]
    assert titles(await call(api, "GET /users/")) == ["User"]


async def test_integration_is_chosen_by_its_header(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    other = await connect(environment, "crm")
    await save(environment, connection, "User", "1")
    await save(environment, other, "Person", "2")

    assert titles(await call(api, "GET /users")) == ["User"]
    assert titles(await call(api, "GET /users", "crm")) == ["Person"]


async def test_query_is_that_of_records(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "Issue", "1", "2", "3")
    await save(environment, connection, "Issue", "9", variant="eu")

    first = await call(api, "GET /issues", params={"limit": 2, "model": "Label"})
    cursor = first.json()["next_cursor"]
    assert ids(first) == ["1", "2"]
    assert ids(await call(api, "GET /issues", params={"cursor": cursor})) == ["3"]
    assert ids(await call(api, "GET /issues", params={"ids": ["1", "3"]})) == ["1", "3"]
    assert ids(await call(api, "GET /issues", params={"filter": "UPDATED,deleted"})) == []
    assert ids(await call(api, "GET /issues", params={"variant": "eu"})) == ["9"]
    future = {"modified_after": "2199-01-01T00:00:00Z"}
    assert ids(await call(api, "GET /issues", params=future)) == []


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"limit": 0}, "invalid_query_params", "limit"),
        ({"filter": "gone"}, "invalid_query_params", "filter"),
        ({"modified_after": "yesterday"}, "invalid_query_params", "modified_after"),
        ({"cursor": "nonsense"}, "invalid_cursor", None),
    ],
)
async def test_query_that_makes_no_sense_is_refused_as_by_records(
    api: httpx.AsyncClient, connection: Connection, query: Any, code: str, field: str | None
) -> None:
    answer = await call(api, "GET /issues", params=query)
    assert error_of(answer) == (400, code)
    errors = answer.json()["error"].get("errors", [])
    assert [error["path"] for error in errors] == ([[field]] if field else [])


async def test_path_that_names_the_record_answers_that_one_only(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "Label", "a", "b", "c/d")

    assert ids(await call(api, "GET /repos/7/labels/b")) == ["b"]
    assert ids(await call(api, "GET /repos/7/labels/c%2Fd")) == ["c/d"]
    assert ids(await call(api, "GET /repos/7/labels/z")) == []
    twice = await call(api, "GET /repos/7/labels/b", params={"ids": "a"})
    assert error_of(twice) == (400, "invalid_query_params")


async def test_records_are_served_without_temporal(
    offline: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "Issue", "1")
    assert ids(await call(offline, "GET /issues")) == ["1"]
    answer = await call(offline, "POST /issues", json={"title": "t"})
    assert error_of(answer) == (503, "temporal_unavailable")


# Actions.


async def test_body_is_the_input_of_an_action(acting: httpx.AsyncClient) -> None:
    answer = await call(acting, "POST /issues", json={"title": "t"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"by": "tracker create", "input": {"title": "t"}}

    other = await call(acting, "POST /issues", "crm", json=["anything"])
    assert other.json() == {"by": "crm create", "input": ["anything"]}

    runs = (await acting.get("/runs?kind=action")).json()["runs"]
    assert {(run["integration"], run["script"], run["status"]) for run in runs} == {
        ("tracker", "create", "success"),
        ("crm", "create", "success"),
    }


async def test_query_is_the_input_where_there_is_no_body(acting: httpx.AsyncClient) -> None:
    query = {"page": "2", "open": "true", "tags": ["a", "b"], "id": "7", "more": "5"}
    wanted = {"page": 2, "open": True, "tags": ["a", "b"], "id": "7", "more": "5"}

    assert (await call(acting, "GET /search", params=query)).json()["input"] == wanted
    removed = await call(acting, "DELETE /issues/7", params={"page": "2"})
    assert removed.json() == {"by": "tracker remove", "input": {"page": 2, "id": "7"}}
    assert (await call(acting, "POST /issues", "crm")).json()["input"] is None


async def test_values_of_the_path_go_into_the_input(acting: httpx.AsyncClient) -> None:
    answer = await call(acting, "PUT /issues/a%20b", json={"title": "t"})
    assert answer.json() == {"by": "tracker close", "input": {"title": "t", "id": "a b"}}

    contradicts = await call(acting, "PUT /issues/7", json={"id": "8"})
    assert error_of(contradicts) == (400, "invalid_body")
    assert contradicts.json()["error"]["errors"][0]["path"] == ["id"]
    no_object = await call(acting, "PUT /issues/7", json=[1])
    assert error_of(no_object) == (400, "invalid_body")


async def test_input_is_validated_as_always(acting: httpx.AsyncClient) -> None:
    answer = await call(acting, "POST /issues", json={"title": 5})
    assert error_of(answer) == (400, "invalid_action_input")
    text = await call(acting, "GET /search", params={"page": "two"})
    assert error_of(text) == (400, "invalid_action_input")


async def test_body_that_is_not_json_is_refused(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    as_json = {"content-type": "application/json"}
    broken = await call(api, "POST /issues", content=b"{", headers=as_json)
    assert error_of(broken) == (400, "invalid_body")
    no_number = await call(api, "POST /issues", content=b"[NaN]", headers=as_json)
    assert error_of(no_number) == (400, "invalid_body")
    form = await call(api, "POST /issues", data={"title": "t"})
    assert error_of(form) == (400, "invalid_content_type")


async def test_endpoint_of_an_action_may_be_called_without_waiting(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    answer = await call(api, "POST /issues", json={"title": "t"}, headers={"x-async": "true"})
    assert answer.status_code == 202
    assert answer.json()["statusUrl"] == answer.headers["location"]


# What is not there.


async def test_unknown_endpoint_is_answered_with_those_near_it(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    answer = await call(api, "GET /isues")
    assert error_of(answer) == (404, "not_found")
    assert "Near it are: GET /issues" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/issues/7/8", "//issues", "/%00", "/" + "x" * 9000]
)
async def test_path_that_nobody_declares_is_not_found(
    api: httpx.AsyncClient, connection: Connection, path: str
) -> None:
    answer = await call(api, f"GET {path}")
    assert error_of(answer) == (404, "not_found")
    assert len(answer.json()["error"]["message"]) < 500


async def test_endpoint_of_another_integration_is_named(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await connect(environment, "crm")
    answer = await call(api, "GET /search", "crm")
    assert error_of(answer) == (404, "not_found")
    assert "Provider-Config-Key would have to be one of: tracker" in answer.text


async def test_wrong_method_is_answered_with_the_right_ones(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    answer = await call(api, "DELETE /issues")
    assert error_of(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    other = await call(api, "GET /issues/7")
    assert other.headers["allow"] == "DELETE, PUT"


async def test_connection_has_to_exist_and_be_named(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    unknown = await call(api, "GET /issues", headers={"connection-id": "nobody"})
    assert error_of(unknown) == (400, "unknown_connection")
    assert error_of(await call(api, "GET /issues", "none")) == (400, "unknown_provider_config")
    assert error_of(await api.get("/v1/issues")) == (400, "invalid_headers")


async def test_nothing_is_served_before_the_first_deploy(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    await connect(environment)
    assert error_of(await call(api, "GET /issues")) == (404, "not_found")


async def test_deploy_changes_what_is_served(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    assert ids(await call(api, "GET /issues")) == []
    moved = project() | {"nango.yaml": CONFIG.replace("GET /issues", "GET /tickets")}
    await environment.deploy(moved)

    assert ids(await call(api, "GET /tickets")) == []
    gone = await call(api, "GET /issues")
    assert error_of(gone) == (405, "method_not_allowed")
