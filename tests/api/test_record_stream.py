"""Following records live: what is committed arrives, once, in order, and a break loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.api.calls import error_of
from tests.support.serving import served
from tests.support.stack import Stack

NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}


@pytest.fixture
def app(own_app: FastAPI) -> FastAPI:
    """Each test stops its server."""
    return own_app


@pytest.fixture
async def connection(environment: Stack) -> Connection:
    """Connection `acme` of integration `tracker`."""
    return await environment.connect("http://127.0.0.1:1")


@pytest.fixture
async def listening(app: FastAPI, environment: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reaches the API over a socket, since only so answers come piece by piece."""
    headers = {"authorization": f"Bearer {environment.secret_key}"}
    async with (
        served(app) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client


@contextlib.asynccontextmanager
async def following(
    client: httpx.AsyncClient, **query: str
) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
    """Follow the issues of `acme`: pairs of cursor and record."""
    headers = NAMED | ({"last-event-id": query.pop("last")} if "last" in query else {})
    async with client.stream(
        "GET", "/records/stream", headers=headers, params={"model": "Issue"} | query
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def events() -> AsyncIterator[tuple[str, dict[str, Any]]]:
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                if fields.get("event") == "record":
                    yield fields["id"], json.loads(fields["data"])
                fields = {}

        yield events()


async def take(
    events: AsyncIterator[tuple[str, dict[str, Any]]], count: int
) -> list[tuple[str, dict[str, Any]]]:
    # The feed looks by itself every ten seconds: before that it has to have been told.
    async with asyncio.timeout(9.5):
        return [await anext(events) for _ in range(count)]


async def save(stack: Stack, connection: Connection, *ids: str, title: str = "t") -> None:
    records = [{"id": record_id, "title": title} for record_id in ids]
    await stack.container.database.records.save(
        RecordSet(connection.key, "Issue"), prepare_batch(records)
    )


async def test_what_is_there_comes_first_then_what_is_committed(
    listening: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "1", "2")
    async with following(listening) as events:
        assert [record["id"] for _, record in await take(events, 2)] == ["1", "2"]
        await save(environment, connection, "3")
        await environment.container.database.records.delete(
            RecordSet(connection.key, "Issue"), prepare_deletion([{"id": "1"}])
        )
        later = [record for _, record in await take(events, 2)]

    assert [record["id"] for record in later] == ["3", "1"]
    assert later[1]["_nango_metadata"]["last_action"] == "DELETED"


async def test_follower_that_connects_again_misses_nothing(
    listening: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "1", "2")
    async with following(listening) as events:
        [(first, _)] = await take(events, 1)
    await save(environment, connection, "3")

    async with following(listening, last=first) as events:
        assert [record["id"] for _, record in await take(events, 2)] == ["2", "3"]


async def test_cursor_of_a_record_is_where_its_event_is_named(
    listening: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    await save(environment, connection, "1")
    async with following(listening) as events:
        [(cursor, record)] = await take(events, 1)
    assert cursor == record["_nango_metadata"]["cursor"]


async def test_changes_of_other_models_and_variants_are_not_sent(
    listening: httpx.AsyncClient, environment: Stack, connection: Connection
) -> None:
    records = environment.container.database.records
    async with following(listening) as events:
        await records.save(RecordSet(connection.key, "Other"), prepare_batch([{"id": "o"}]))
        await records.save(RecordSet(connection.key, "Issue", "eu"), prepare_batch([{"id": "v"}]))
        await save(environment, connection, "1")
        assert [record["id"] for _, record in await take(events, 1)] == ["1"]


async def test_stream_goes_on_when_the_listening_connection_breaks(
    listening: httpx.AsyncClient, environment: Stack, connection: Connection, postgres: str
) -> None:
    async with following(listening) as events:
        await save(environment, connection, "1")
        await take(events, 1)
        admin = await asyncpg.connect(postgres)
        ended = await admin.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE '%-listen'"
        )
        await admin.close()
        assert ended >= 1
        await save(environment, connection, "2")
        assert [record["id"] for _, record in await take(events, 1)] == ["2"]


async def test_stopping_ends_the_stream(
    listening: httpx.AsyncClient, app: FastAPI, environment: Stack, connection: Connection
) -> None:
    async with following(listening) as events:
        await save(environment, connection, "1")
        await take(events, 1)
        app.state.stopping.set()
        async with asyncio.timeout(5):
            assert [event async for event in events] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"cursor": "never"}, 400, "invalid_cursor"),
        ({"model": ""}, 400, "invalid_query_params"),
    ],
)
async def test_wrong_question_is_refused_before_anything_is_sent(
    api: httpx.AsyncClient, connection: Connection, query: dict[str, str], status: int, code: str
) -> None:
    assert connection
    answer = await api.get("/records/stream", headers=NAMED, params={"model": "Issue"} | query)
    assert error_of(answer) == (status, code)


async def test_unknown_connection_has_no_stream(api: httpx.AsyncClient) -> None:
    answer = await api.get("/records/stream", headers=NAMED, params={"model": "Issue"})
    assert error_of(answer)[0] == 400
