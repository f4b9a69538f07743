"""Connections, their credentials and metadata."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from perdure.crypto.keyring import DecryptionError
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.errors import InvalidInputError, NotFoundError
from perdure.ids import ConnectionKey


async def metadata_of(db: Database, connection: Connection, name: str = "acme") -> Any:
    found = await db.connections.get(connection.environment_id, "github", name)
    return found.metadata


async def test_a_connection_comes_back_without_its_credentials(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github")

    made, new = await db.connections.save(
        environment.id,
        "gh",
        "acme",
        {"apiKey": "do-not-tell"},
        metadata={"a": 1},
        connection_config={"subdomain": "acme"},
        tags={"plan": "pro"},
        end_user={"id": "u1"},
    )

    assert new
    assert await db.connections.get(environment.id, "gh", "acme") == made
    assert await db.connections.by_key(made.key) == made
    assert (made.integration, made.provider, made.connection_id) == ("gh", "github", "acme")
    assert (made.metadata, made.connection_config) == ({"a": 1}, {"subdomain": "acme"})
    assert (made.tags, made.end_user) == ({"plan": "pro"}, {"id": "u1"})
    assert "do-not-tell" not in repr(made)


async def test_the_table_holds_only_ciphertext(db: Database, connection: Connection) -> None:
    assert await db.connections.credentials(connection) == {
        "type": "API_KEY",
        "apiKey": "hush-hush",
    }

    row = await db.pool.fetchrow("SELECT * FROM connections WHERE id = $1", connection.key)

    assert row is not None
    assert b"hush-hush" not in row["credentials"]
    assert b"apiKey" not in row["credentials"]
    assert "hush-hush" not in str({key: row[key] for key in row.keys() if key != "credentials"})  # noqa: SIM118 - a Record iterates over values


async def test_credentials_copied_to_another_connection_cannot_be_read(
    db: Database, connection: Connection
) -> None:
    other, _ = await db.connections.save(connection.environment_id, "github", "other", {"k": 1})
    await db.pool.execute(
        "UPDATE connections SET credentials ="
        " (SELECT credentials FROM connections WHERE id = $1) WHERE id = $2",
        connection.key,
        other.key,
    )

    with pytest.raises(DecryptionError):
        await db.connections.credentials(other)


async def test_saving_again_replaces_credentials_and_keeps_the_rest(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github")
    first, _ = await db.connections.save(
        environment.id, "gh", "acme", {"k": 1}, metadata={"a": 1}, tags={"t": "x"}
    )

    second, new = await db.connections.save(
        environment.id, "gh", "acme", {"k": 2}, connection_config={"c": 1}
    )

    assert not new
    assert second.key == first.key
    assert second.updated_at > first.updated_at
    assert (second.metadata, second.tags) == ({"a": 1}, {"t": "x"})
    assert second.connection_config == {"c": 1}
    assert await db.connections.credentials(second) == {"k": 2}


async def test_of_many_that_save_at_once_one_makes_the_connection(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github")

    saved = await asyncio.gather(
        *(db.connections.save(environment.id, "gh", "acme", {"n": n}) for n in range(8))
    )

    assert len({connection.key for connection, _ in saved}) == 1
    assert sorted(new for _, new in saved) == [False] * 7 + [True]


async def test_what_is_missing_is_told_apart(db: Database, connection: Connection) -> None:
    environment_id = connection.environment_id

    with pytest.raises(NotFoundError) as caught:
        await db.connections.get(environment_id, "github", "nobody")
    assert caught.value.code == "unknown_connection"

    with pytest.raises(NotFoundError) as caught:
        await db.connections.get(environment_id, "nothing", "acme")
    assert caught.value.code == "unknown_provider_config"

    with pytest.raises(NotFoundError) as caught:
        await db.connections.save(environment_id, "nothing", "acme", {})
    assert caught.value.code == "unknown_provider_config"

    with pytest.raises(NotFoundError) as caught:
        await db.connections.by_key(ConnectionKey(2**60))
    assert caught.value.code == "unknown_connection"


async def test_a_connection_of_another_environment_is_not_there(
    db: Database, connection: Connection, environment: Environment
) -> None:
    other = await db.environments.ensure(f"{environment.name}-2", str(uuid4()))
    await db.integrations.create(other.id, "github", "github")

    with pytest.raises(NotFoundError):
        await db.connections.get(other.id, "github", "acme")


async def test_a_deleted_connection_is_gone(db: Database, connection: Connection) -> None:
    gone = await db.connections.delete(connection.environment_id, "github", "acme")

    assert gone == connection
    for attempt in (
        db.connections.credentials(connection),
        db.connections.delete(connection.environment_id, "github", "acme"),
        db.connections.update(connection.environment_id, "github", "acme", tags={}),
    ):
        with pytest.raises(NotFoundError) as caught:
            await attempt
        assert caught.value.code == "unknown_connection"


async def test_metadata_is_replaced_by_set_and_merged_by_merge(
    db: Database, connection: Connection
) -> None:
    environment_id = connection.environment_id
    assert await metadata_of(db, connection) is None

    await db.connections.merge_metadata(environment_id, "github", ["acme"], {"a": {"x": 1}})
    await db.connections.merge_metadata(environment_id, "github", ["acme"], {"b": 2})
    assert await metadata_of(db, connection) == {"a": {"x": 1}, "b": 2}

    await db.connections.merge_metadata(environment_id, "github", ["acme"], {"a": {"y": 1}})
    assert await metadata_of(db, connection) == {"a": {"y": 1}, "b": 2}

    await db.connections.set_metadata(environment_id, "github", ["acme"], {"c": 3})
    assert await metadata_of(db, connection) == {"c": 3}


async def test_metadata_of_many_connections_is_written_for_all_or_none(
    db: Database, connection: Connection
) -> None:
    environment_id = connection.environment_id
    await db.connections.save(environment_id, "github", "other", {"k": 1})

    await db.connections.set_metadata(environment_id, "github", ["acme", "other"], {"n": 1})
    with pytest.raises(NotFoundError) as caught:
        await db.connections.set_metadata(environment_id, "github", ["acme", "nobody"], {"n": 2})

    assert caught.value.code == "unknown_connection"
    assert await metadata_of(db, connection) == {"n": 1}
    assert await metadata_of(db, connection, "other") == {"n": 1}


@pytest.mark.parametrize("value", ["nul \0", "\ud800"])
async def test_text_that_cannot_be_stored_is_the_callers_error(
    db: Database, connection: Connection, value: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await db.connections.set_metadata(
            connection.environment_id, "github", ["acme"], {"v": value}
        )

    assert caught.value.code == "unstorable_text"
    with pytest.raises(InvalidInputError):
        await db.connections.save(connection.environment_id, "github", f"name {value}", {})


async def test_an_update_replaces_what_is_given(db: Database, connection: Connection) -> None:
    updated = await db.connections.update(
        connection.environment_id, "github", "acme", tags={"a": "1"}, end_user={"id": "u"}
    )
    again = await db.connections.update(connection.environment_id, "github", "acme", tags={})

    assert (updated.tags, updated.end_user) == ({"a": "1"}, {"id": "u"})
    assert (again.tags, again.end_user) == ({}, {"id": "u"})


async def test_fetching_is_noted_once_a_minute(db: Database, connection: Connection) -> None:
    assert connection.last_fetched_at is None

    await db.connections.mark_fetched(connection.key)
    first = await db.connections.by_key(connection.key)
    await db.connections.mark_fetched(connection.key)
    second = await db.connections.by_key(connection.key)

    assert first.last_fetched_at is not None
    assert second.last_fetched_at == first.last_fetched_at


@pytest.fixture
async def crowd(db: Database, environment: Environment) -> Environment:
    for key in ("gh", "gl"):
        await db.integrations.create(environment.id, key, "github")
    people: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
        ("gh", "one", {"id": "u1", "email": "Ann@x.io"}, {"plan": "pro", "eu": "yes"}),
        ("gh", "two", {"id": "u2", "organization": {"id": "o1"}}, {"plan": "pro"}),
        ("gl", "one", {"id": "u1", "display_name": "50%_off"}, {}),
    ]
    for integration, name, end_user, tags in people:
        await db.connections.save(
            environment.id, integration, name, {"k": 1}, end_user=end_user, tags=tags
        )
    return environment


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["gl/one", "gh/two", "gh/one"]),
        ({"integrations": ["gh"]}, ["gh/two", "gh/one"]),
        ({"integrations": ["gh", "gl"], "connection_id": "one"}, ["gl/one", "gh/one"]),
        ({"search": "ann@"}, ["gh/one"]),
        ({"search": "TW"}, ["gh/two"]),
        ({"search": "%_"}, ["gl/one"]),
        ({"end_user_id": "u1"}, ["gl/one", "gh/one"]),
        ({"end_user_organization_id": "o1"}, ["gh/two"]),
        ({"tags": {"plan": "pro"}}, ["gh/two", "gh/one"]),
        ({"tags": {"plan": "pro", "eu": "yes"}}, ["gh/one"]),
        ({"tags": {"plan": "free"}}, []),
        ({"limit": 1}, ["gl/one"]),
        ({"limit": 1, "offset": 2}, ["gh/one"]),
    ],
    ids=str,
)
async def test_connections_are_found(
    db: Database, crowd: Environment, conditions: dict[str, Any], expected: list[str]
) -> None:
    found = await db.connections.list(crowd.id, **conditions)

    assert [f"{one.integration}/{one.connection_id}" for one in found] == expected
