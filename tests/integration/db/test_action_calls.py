"""What a call of an action meets is read at once, and is as it is at that moment."""

from __future__ import annotations

from perdure.db.action_calls import ActionCallFacts
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment

_VARIABLE = "LEVEL"


async def facts(db: Database, connection: Connection, **changes: str) -> ActionCallFacts | None:
    asked = {"connection_id": connection.connection_id, "action": "greet", **changes}
    return await db.action_calls.facts(
        connection.environment_id, connection.integration, variable=_VARIABLE, **asked
    )


async def test_a_call_meets_its_environment_and_connection(
    db: Database, environment: Environment, connection: Connection
) -> None:
    known = await db.connections.get(environment.id, "github", "acme")

    assert await facts(db, connection) == ActionCallFacts(environment, known, False, None)


async def test_a_disabled_action_is_disabled_at_once(
    db: Database, environment: Environment, connection: Connection
) -> None:
    await db.actions.disable(environment.id, "github", "greet")

    disabled = await facts(db, connection)
    other = await facts(db, connection, action="other")

    assert disabled is not None
    assert disabled.is_disabled
    assert other is not None
    assert not other.is_disabled


async def test_a_variable_is_read_along(
    db: Database, environment: Environment, connection: Connection
) -> None:
    await db.variables.set(environment.id, "OTHER", "no")
    await db.variables.set(environment.id, _VARIABLE, "warn")

    found = await facts(db, connection)

    assert found is not None
    assert found.variable == "warn"


async def test_a_connection_that_is_not_there_has_no_facts(
    db: Database, connection: Connection
) -> None:
    assert await facts(db, connection, connection_id="missing") is None
