"""The syncs of connections."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import ConnectionKey

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_sync_is_made_once_and_keeps_its_id(db: Database, connection: Connection) -> None:
    first = await db.syncs.ensure(connection.key, "issues")

    assert await db.syncs.ensure(connection.key, "issues") == first
    assert await db.syncs.get(connection.key, "issues") == first
    assert (first.name, first.variant, first.integration) == ("issues", "base", "github")
    assert (first.connection_id, first.environment_id) == ("acme", connection.environment_id)
    assert (first.frequency, first.last_sync_date) == (None, None)


async def test_of_many_that_ensure_a_sync_at_once_all_get_the_same(
    db: Database, connection: Connection
) -> None:
    syncs = await asyncio.gather(*(db.syncs.ensure(connection.key, "issues") for _ in range(12)))

    assert len({sync.id for sync in syncs}) == 1


async def test_a_variant_is_a_sync_of_its_own(db: Database, connection: Connection) -> None:
    base = await db.syncs.ensure(connection.key, "issues")

    variant = await db.syncs.create_variant(connection.key, "issues", "archived", most=2)

    assert variant.id != base.id
    with pytest.raises(ConflictError) as caught:
        await db.syncs.create_variant(connection.key, "issues", "archived", most=2)
    assert caught.value.code == "sync_variant_already_exists"


async def test_the_last_sync_date_never_moves_back(db: Database, connection: Connection) -> None:
    await db.syncs.ensure(connection.key, "issues")

    await db.syncs.set_last_sync_date(connection.key, "issues", MOMENT)
    await db.syncs.set_last_sync_date(connection.key, "issues", MOMENT - timedelta(hours=1))

    assert (await db.syncs.get(connection.key, "issues")).last_sync_date == MOMENT


async def test_the_last_sync_date_can_be_forgotten(db: Database, connection: Connection) -> None:
    await db.syncs.ensure(connection.key, "issues")
    await db.syncs.set_last_sync_date(connection.key, "issues", MOMENT)

    await db.syncs.set_last_sync_date(connection.key, "issues", None)

    assert (await db.syncs.get(connection.key, "issues")).last_sync_date is None


async def test_a_frequency_is_overridden_and_given_back(
    db: Database, connection: Connection
) -> None:
    await db.syncs.ensure(connection.key, "issues")

    await db.syncs.set_frequency(connection.key, "issues", "every 5m")
    assert (await db.syncs.get(connection.key, "issues")).frequency == "every 5m"

    await db.syncs.set_frequency(connection.key, "issues", None)
    assert (await db.syncs.get(connection.key, "issues")).frequency is None


async def test_syncs_are_listed_by_what_they_belong_to(
    db: Database, connection: Connection
) -> None:
    environment_id = connection.environment_id
    other, _ = await db.connections.save(environment_id, "github", "other", {"k": 1})
    for key, name in ((connection.key, "b"), (connection.key, "a"), (other.key, "a")):
        await db.syncs.ensure(key, name)

    everything = await db.syncs.list(environment_id)
    of_one = await db.syncs.list(environment_id, connection_key=connection.key)
    by_name = await db.syncs.list(environment_id, integration="github", names=["a"])

    assert [(s.connection_id, s.name) for s in everything] == [
        ("acme", "a"),
        ("acme", "b"),
        ("other", "a"),
    ]
    assert [s.name for s in of_one] == ["a", "b"]
    assert [s.connection_id for s in by_name] == ["acme", "other"]
    assert await db.syncs.list(environment_id, integration="gitlab") == []


async def test_a_sync_that_is_not_there_is_named(db: Database, connection: Connection) -> None:
    for attempt in (
        db.syncs.get(connection.key, "issues", "v"),
        db.syncs.set_frequency(connection.key, "issues", "1h", "v"),
        db.syncs.delete(connection.key, "issues", "v"),
    ):
        with pytest.raises(NotFoundError, match="'issues::v'") as caught:
            await attempt
        assert caught.value.code == "unknown_sync"


async def test_a_sync_of_a_connection_that_is_gone_cannot_be_made(db: Database) -> None:
    for attempt in (
        db.syncs.ensure(ConnectionKey(2**60), "issues"),
        db.syncs.create_variant(ConnectionKey(2**60), "issues", "v", most=2),
    ):
        with pytest.raises(NotFoundError) as caught:
            await attempt
        assert caught.value.code == "unknown_connection"


async def test_a_deleted_sync_is_gone_and_so_are_those_of_a_deleted_connection(
    db: Database, connection: Connection
) -> None:
    await db.syncs.ensure(connection.key, "a")
    await db.syncs.ensure(connection.key, "b")

    await db.syncs.delete(connection.key, "a")
    assert [s.name for s in await db.syncs.list(connection.environment_id)] == ["b"]

    await db.connections.delete(connection.environment_id, "github", "acme")
    assert await db.syncs.list(connection.environment_id) == []
