"""Giving up payloads over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.api.calls import error_of
from tests.support.record_counts import live_count
from tests.support.stack import Stack

NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}


@pytest.fixture
async def connection(environment: Stack) -> Connection:
    """Connection `acme` of integration `tracker`, with five issues."""
    made = await environment.connect("http://127.0.0.1:1")
    await save(environment, made, *"12345")
    return made


async def save(stack: Stack, connection: Connection, *ids: str) -> None:
    await stack.container.database.records.save(
        RecordSet(connection.key, "Issue"),
        prepare_batch([{"id": record_id, "title": "t"} for record_id in ids]),
    )


async def read(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await api.get("/records", headers=NAMED, params={"model": "Issue"})
    records: list[dict[str, Any]] = answer.json()["records"]
    return records


async def prune(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await api.patch("/records/prune", headers=NAMED, json={"model": "Issue"} | body)
    assert answer.status_code == 200, answer.text
    pruned: dict[str, Any] = answer.json()
    return pruned


async def test_payloads_go_up_to_the_cursor(api: httpx.AsyncClient, connection: Connection) -> None:
    before = await read(api)
    until = before[2]["_nango_metadata"]["cursor"]

    assert await prune(api, until_cursor=until) == {"count": 3, "has_more": False}

    after = await read(api)
    assert [set(record) for record in after] == [{"id", "_nango_metadata"}] * 3 + [
        {"id", "title", "_nango_metadata"}
    ] * 2
    for old, new in zip(before, after, strict=True):
        pruned_at = new["_nango_metadata"].pop("pruned_at")
        assert (pruned_at is not None) == ("title" not in new)
        old["_nango_metadata"].pop("pruned_at")
        assert old["_nango_metadata"] == new["_nango_metadata"], "neither cursor nor dates move"


async def test_pruning_goes_in_steps(api: httpx.AsyncClient, connection: Connection) -> None:
    until = (await read(api))[3]["_nango_metadata"]["cursor"]
    steps = [await prune(api, until_cursor=until, limit=2) for _ in range(3)]
    assert steps == [
        {"count": 2, "has_more": True},
        {"count": 2, "has_more": False},
        {"count": 0, "has_more": False},
    ]


async def test_payload_that_is_saved_again_comes_back_and_can_be_pruned_again(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    before = await read(api)
    until = before[-1]["_nango_metadata"]["cursor"]
    await prune(api, until_cursor=until)
    await save(environment, connection, "2")

    assert (await read(api))[1] == before[1]
    assert await prune(api, until_cursor=until) == {"count": 1, "has_more": False}


async def test_pruned_records_still_count(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    until = (await read(api))[-1]["_nango_metadata"]["cursor"]
    await prune(api, until_cursor=until)
    database = environment.container.database
    assert await live_count(database, RecordSet(connection.key, "Issue")) == 5


async def test_deleted_record_that_is_pruned_says_both(
    api: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await environment.container.database.records.delete(
        RecordSet(connection.key, "Issue"), prepare_deletion([{"id": "3"}])
    )
    deleted = (await read(api))[-1]
    await prune(api, until_cursor=deleted["_nango_metadata"]["cursor"])

    pruned = (await read(api))[-1]

    assert pruned["id"] == "3"
    assert pruned["_nango_metadata"].pop("pruned_at") is not None
    assert pruned["_nango_metadata"].items() <= deleted["_nango_metadata"].items()
    assert pruned["_nango_metadata"]["last_action"] == "DELETED"
    assert pruned["_nango_metadata"]["deleted_at"] is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"until_cursor": "never"}, "invalid_cursor"),
        ({}, "invalid_body"),
        ({"until_cursor": "x", "limit": 10_001}, "invalid_body"),
    ],
)
async def test_wrong_body_is_refused(
    api: httpx.AsyncClient, connection: Connection, body: dict[str, Any], code: str
) -> None:
    answer = await api.patch("/records/prune", headers=NAMED, json={"model": "Issue"} | body)
    assert error_of(answer) == (400, code)
