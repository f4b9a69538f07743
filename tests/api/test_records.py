"""Records over REST."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.records.cursor import encode_cursor
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.api.calls import error_of
from tests.support.stack import Stack

NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}


@pytest.fixture
async def connection(environment: Stack) -> Connection:
    """Connection `acme` of integration `tracker`."""
    return await environment.connect("http://127.0.0.1:1")


async def save(
    stack: Stack, connection: Connection, *ids: str, title: str = "t", **target: str
) -> None:
    records = [{"id": record_id, "title": title} for record_id in ids]
    await stack.container.database.records.save(
        RecordSet(connection.key, "Issue", **target), prepare_batch(records)
    )


async def read(api: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await api.get("/records", headers=NAMED, params={"model": "Issue"} | query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def ids(page: dict[str, Any]) -> list[str]:
    return [record["id"] for record in page["records"]]


@pytest.mark.parametrize("path", ["/records", "/records/"])
async def test_record_carries_its_metadata(
    api: httpx.AsyncClient, environment: Stack, connection: Connection, path: str
) -> None:
    await save(environment, connection, "1")

    answer = await api.get(path, headers=NAMED, params={"model": "Issue"})

    assert answer.status_code == 200
    (record,) = answer.json()["records"]
    metadata = record.pop("_nango_metadata")
    assert record == {"id": "1", "title": "t"}
    assert set(metadata) == {
        "first_seen_at",
        "last_modified_at",
        "last_action",
        "deleted_at",
        "pruned_at",
        "cursor",
    }
    assert metadata["last_action"] == "ADDED"
    assert answer.json()["next_cursor"] is None


async def test_cursor_leads_through_all_records_once(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, *(str(n) for n in range(25)))

    seen, query = [], {"limit": 10}
    for _ in range(3):
        page = await read(api, **query)
        seen += ids(page)
        query["cursor"] = page["next_cursor"]

    assert sorted(seen, key=int) == [str(n) for n in range(25)]
    assert query["cursor"] is None


async def test_records_can_be_narrowed(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "1", "2", "3")
    between = datetime.now(UTC)
    await save(environment, connection, "2", title="new")
    await environment.container.database.records.delete(
        RecordSet(connection.key, "Issue"), prepare_deletion([{"id": "3"}])
    )
    await save(environment, connection, "9", variant="eu")

    assert ids(await read(api, filter="added")) == ["1"]
    assert ids(await read(api, filter="UPDATED,deleted")) == ["2", "3"]
    assert ids(await read(api, modified_after=between.isoformat())) == ["2", "3"]
    assert ids(await read(api, delta=between.replace(tzinfo=None).isoformat())) == ["2", "3"]
    assert ids(await read(api, ids=["1", "3"])) == ["1", "3"]
    assert ids(await read(api, variant="eu")) == ["9"]
    assert ids(await read(api, model="Nothing")) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"cursor": "nonsense"}, "invalid_cursor"),
        ({"cursor": "x" * 1001}, "invalid_query_params"),
        ({"limit": 0}, "invalid_query_params"),
        ({"limit": 10_001}, "invalid_query_params"),
        ({"filter": "added,gone"}, "invalid_query_params"),
        ({"modified_after": "yesterday"}, "invalid_query_params"),
        ({"ids": ["x"] * 101}, "invalid_query_params"),
        ({"model": ""}, "invalid_query_params"),
        ({"model": "a\0b"}, "unstorable_text"),
    ],
)
async def test_query_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, connection: Connection, query: dict[str, Any], code: str
) -> None:
    answer = await api.get("/records", headers=NAMED, params={"model": "Issue"} | query)
    assert error_of(answer) == (400, code)


async def test_unknown_connection_is_a_bad_request(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    async def read_as(**headers: str) -> tuple[int, str]:
        named = NAMED | {name.replace("_", "-"): value for name, value in headers.items()}
        return error_of(await api.get("/records?model=Issue", headers=named))

    assert await read_as(connection_id="nobody") == (400, "unknown_connection")
    assert await read_as(provider_config_key="crm") == (400, "unknown_provider_config")


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": encode_cursor(2**62)},
        {"filter": "deleted"},
        {"ids": "1"},
        {"modified_after": "2026-01-01"},
        {"modified_after": "2026-01-01", "filter": "deleted"},
    ],
)
async def test_no_query_makes_an_unknown_connection_an_empty_one(
    api: httpx.AsyncClient, environment: Stack, connection: Connection, query: dict[str, str]
) -> None:
    params = {"model": "Issue"} | query
    known = await api.get("/records", headers=NAMED, params=params)
    unknown = await api.get("/records", headers=NAMED | {"connection-id": "x"}, params=params)

    assert known.json() == {"next_cursor": None, "records": []}
    assert error_of(unknown) == (400, "unknown_connection")


@pytest.mark.parametrize("query", [{"filter": "gone"}, {"cursor": "nonsense"}, {"model": "a\0b"}])
async def test_that_a_connection_is_unknown_is_told_before_what_is_wrong_with_the_query(
    api: httpx.AsyncClient, environment: Stack, connection: Connection, query: dict[str, str]
) -> None:
    params = {"model": "Issue"} | query
    answer = await api.get("/records", headers=NAMED | {"connection-id": "x"}, params=params)

    assert error_of(answer) == (400, "unknown_connection")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"ids": ["ours", "theirs"]},
        {"modified_after": "2026-01-01"},
        {"filter": "deleted"},
        {"filter": "deleted", "modified_after": "2026-01-01"},
    ],
)
async def test_each_environment_reads_the_records_of_its_own_connection_of_a_name(
    api: httpx.AsyncClient, environment: Stack, connection: Connection, query: dict[str, Any]
) -> None:
    database = environment.container.database
    key = str(uuid4())
    other = await database.environments.ensure(f"other-{uuid4().hex}", key)
    await database.integrations.create(other.id, "tracker", "tracker")
    foreign, _ = await database.connections.save(other.id, "tracker", "acme", {"k": 1})
    for whose, name in ((connection, "ours"), (foreign, "theirs")):
        await save(environment, whose, name)
        if query.get("filter") == "deleted":
            target = RecordSet(whose.key, "Issue")
            await database.records.delete(target, prepare_deletion([{"id": name}]))

    async def told(**caller: str) -> list[str]:
        params = {"model": "Issue"} | query
        answer = await api.get("/records", headers=NAMED | caller, params=params)
        return ids(answer.json())

    assert await told() == ["ours"]
    assert await told(authorization=f"Bearer {key}") == ["theirs"]


async def test_what_is_wrong_with_a_request_is_told_in_the_usual_order(
    api: httpx.AsyncClient, connection: Connection
) -> None:
    wrong = {"limit": 0, "cursor": "x" * 1001}

    without_names = await api.get("/records", headers={"connection-id": ""}, params=wrong)
    with_names = await api.get("/records", headers=NAMED, params=wrong)

    assert error_of(without_names) == (400, "invalid_headers")
    assert places(without_names) == [
        "connection-id",
        "cursor",
        "limit",
        "model",
        "provider-config-key",
    ]
    assert error_of(with_names) == (400, "invalid_query_params")
    assert places(with_names) == ["cursor", "limit", "model"]


def places(answer: httpx.Response) -> list[str]:
    return sorted(".".join(error["path"]) for error in answer.json()["error"]["errors"])


async def test_records_are_served_without_temporal(
    offline: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "1")
    assert ids(await read(offline)) == ["1"]
