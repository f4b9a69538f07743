"""Integrations and their client credentials."""

from __future__ import annotations

import pytest

from perdure.crypto.keyring import DecryptionError, KeyRing, new_key
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.integrations import IntegrationStore
from perdure.errors import ConflictError, NotFoundError

SECRET = {"client_id": "id-1", "client_secret": "do-not-tell"}


async def test_an_integration_comes_back_without_its_credentials(
    db: Database, environment: Environment
) -> None:
    made = await db.integrations.create(
        environment.id, "gh", "github", display_name="GitHub", credentials=SECRET
    )

    assert await db.integrations.get(environment.id, "gh") == made
    assert (made.unique_key, made.provider, made.display_name) == ("gh", "github", "GitHub")
    assert "do-not-tell" not in repr(made)
    assert await db.integrations.credentials(environment.id, "gh") == SECRET


async def test_the_table_holds_only_ciphertext(db: Database, environment: Environment) -> None:
    await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)

    stored = await db.pool.fetchval(
        "SELECT credentials FROM integrations WHERE environment_id = $1", environment.id
    )

    assert b"do-not-tell" not in stored
    assert b"client_secret" not in stored


async def test_an_integration_may_have_no_credentials(
    db: Database, environment: Environment
) -> None:
    made = await db.integrations.create(environment.id, "gh", "github")

    assert made.display_name == "github"
    assert await db.integrations.credentials(environment.id, "gh") is None


async def test_a_key_is_taken_once_in_an_environment(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github")

    with pytest.raises(ConflictError) as caught:
        await db.integrations.create(environment.id, "gh", "gitlab")

    assert caught.value.code == "unique_key_already_exists"


async def test_integrations_are_listed_by_key(db: Database, environment: Environment) -> None:
    for key in ("c", "a", "b"):
        await db.integrations.create(environment.id, key, "github")

    listed = await db.integrations.list(environment.id)

    assert [integration.unique_key for integration in listed] == ["a", "b", "c"]


async def test_an_update_changes_what_is_given_and_nothing_else(
    db: Database, environment: Environment
) -> None:
    made = await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)

    named = await db.integrations.update(environment.id, "gh", display_name="Hub")

    assert (named.id, named.unique_key, named.display_name) == (made.id, "gh", "Hub")
    assert await db.integrations.credentials(environment.id, "gh") == SECRET

    await db.integrations.update(environment.id, "gh", credentials={"client_id": "id-2"})

    assert await db.integrations.credentials(environment.id, "gh") == {
        **SECRET,
        "client_id": "id-2",
    }
    assert (await db.integrations.get(environment.id, "gh")).display_name == "Hub"


async def test_a_renamed_integration_keeps_its_credentials(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)

    await db.integrations.update(environment.id, "gh", new_unique_key="hub")

    assert await db.integrations.credentials(environment.id, "hub") == SECRET
    with pytest.raises(NotFoundError):
        await db.integrations.get(environment.id, "gh")


async def test_an_integration_with_connections_is_not_renamed(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)
    connection, _ = await db.connections.save(environment.id, "gh", "acme", {"apiKey": "k"})

    with pytest.raises(ConflictError) as caught:
        await db.integrations.update(environment.id, "gh", new_unique_key="hub")

    assert caught.value.code == "integration_has_connections"
    assert (await db.connections.get(environment.id, "gh", "acme")).key == connection.key


async def test_renaming_to_a_key_that_is_taken_is_refused(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "a", "github")
    await db.integrations.create(environment.id, "b", "github")

    with pytest.raises(ConflictError):
        await db.integrations.update(environment.id, "a", new_unique_key="b")


async def test_a_deleted_integration_takes_its_connections_along(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github")
    connection, _ = await db.connections.save(environment.id, "gh", "acme", {"apiKey": "k"})

    await db.integrations.delete(environment.id, "gh")

    with pytest.raises(NotFoundError):
        await db.connections.by_key(connection.key)


async def test_an_integration_that_is_not_there_is_named(
    db: Database, environment: Environment
) -> None:
    for attempt in (
        db.integrations.get(environment.id, "gone"),
        db.integrations.credentials(environment.id, "gone"),
        db.integrations.update(environment.id, "gone", display_name="x"),
        db.integrations.delete(environment.id, "gone"),
    ):
        with pytest.raises(NotFoundError, match="'gone'") as caught:
            await attempt
        assert caught.value.code == "unknown_provider_config"


async def test_another_key_ring_cannot_read_credentials(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)
    stranger = IntegrationStore(db.pool, KeyRing.parse(new_key()))

    with pytest.raises(DecryptionError):
        await stranger.credentials(environment.id, "gh")


async def test_credentials_copied_to_another_integration_cannot_be_read(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "gh", "github", credentials=SECRET)
    await db.integrations.create(environment.id, "other", "github", credentials={"x": 1})
    await db.pool.execute(
        "UPDATE integrations SET credentials = (SELECT credentials FROM integrations"
        " WHERE environment_id = $1 AND unique_key = 'gh')"
        " WHERE environment_id = $1 AND unique_key = 'other'",
        environment.id,
    )

    with pytest.raises(DecryptionError):
        await db.integrations.credentials(environment.id, "other")
