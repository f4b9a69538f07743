"""Variables of environments."""

from __future__ import annotations

import pytest

from perdure.crypto.keyring import DecryptionError, KeyRing, new_key
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.variables import VariableStore
from perdure.errors import NotFoundError


async def test_variable_is_set_changed_and_deleted(db: Database, environment: Environment) -> None:
    await db.variables.set(environment.id, "B", "first")
    await db.variables.set(environment.id, "A", "")
    await db.variables.set(environment.id, "B", "nül \0 byte")

    assert list((await db.variables.all(environment.id)).items()) == [
        ("A", ""),
        ("B", "nül \0 byte"),
    ]
    await db.variables.delete(environment.id, "B")
    assert await db.variables.get(environment.id, "B") is None
    assert await db.variables.get(environment.id, "A") == ""


async def test_unknown_variable_cannot_be_deleted(db: Database, environment: Environment) -> None:
    with pytest.raises(NotFoundError) as caught:
        await db.variables.delete(environment.id, "B")

    assert caught.value.code == "unknown_environment_variable"


async def test_value_stands_encrypted_and_bound_to_its_name(
    db: Database, environment: Environment
) -> None:
    await db.variables.set(environment.id, "KEY", "do-not-tell")

    stored = await db.pool.fetchval(
        "SELECT value FROM environment_variables WHERE environment_id = $1", environment.id
    )
    assert b"do-not-tell" not in stored
    await db.pool.execute(
        "UPDATE environment_variables SET name = 'OTHER' WHERE environment_id = $1", environment.id
    )
    with pytest.raises(DecryptionError):
        await db.variables.get(environment.id, "OTHER")


async def test_other_keys_do_not_open_it(db: Database, environment: Environment) -> None:
    await db.variables.set(environment.id, "KEY", "do-not-tell")

    with pytest.raises(DecryptionError):
        await VariableStore(db.pool, KeyRing.parse(new_key())).all(environment.id)
