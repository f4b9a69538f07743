"""How the API has connections set up and deleted, and for how long it waits for that."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, Literal

import structlog
from temporalio.client import WorkflowHandle

from activities.connection_starts import start_awaited, start_connection_workflow
from api.dependencies import Dependencies
from api.errors import ApiError
from api.temporal import settled, temporal_answers
from config.project import Event
from perdure.db.connections import Connection, being_deleted, unknown_connection_key
from perdure.db.environments import Environment
from perdure.errors import UnavailableError
from perdure.ids import ConnectionKey
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import ConnectionInput

__all__ = ["delete", "delete_all", "go_on", "set_up"]

_PATIENCE = timedelta(seconds=30)
_DELETED_AT_ONCE = 20

log = structlog.get_logger(__name__)


async def set_up(
    deps: Dependencies,
    caller: Environment,
    connection: Connection,
    operation: Literal["creation", "override"],
) -> None:
    """Have a connection set up that was given credentials.

    What scripts say of the credentials is waited for in any case; the rest goes on by itself
    where it takes long.

    Args:
        deps: What the process is made of.
        caller: The environment.
        connection: As it was saved.
        operation: Whether it is new.

    Raises:
        ApiError: 400 `connection_validation_failed`, a script refused the credentials.
        ConflictError: `connection_being_deleted`.
        NotFoundError: `unknown_connection`, it was deleted meanwhile.
        UnavailableError: Temporal does not answer.
    """
    lifecycle = deps.database.lifecycle
    while True:
        workflow = WorkflowType.CONNECTION_CREATE
        handle = await _start(deps, caller, workflow, connection, operation)
        if not await _ended_well(deps, caller, connection, handle):
            return
        state = await lifecycle.state(connection.key)
        if state is None:
            raise unknown_connection_key(connection.key)
        if state.is_being_deleted:
            raise being_deleted(connection.integration, connection.connection_id)
        if not state.is_due:
            return
        # The one that was joined was about to end; it did not see these credentials.


async def delete(deps: Dependencies, caller: Environment, connection: Connection) -> None:
    """Have a connection deleted; it goes on by itself where it takes longer than its scripts may.

    Raises:
        ApiError: 500, it failed.
        UnavailableError: Temporal does not answer.
    """
    handle = await _start(deps, caller, WorkflowType.CONNECTION_DELETE, connection)
    patience = _PATIENCE + await _longest(deps, caller, connection, "pre-connection-deletion")
    await settled(handle, patience)


async def delete_all(deps: Dependencies, caller: Environment, integration: str) -> None:
    """Have all connections of an integration deleted, some at once; what was done stays done.

    Raises:
        ApiError: 500, one of them failed; 503 `deletion_goes_on`, they take longer than a request
            should.
        UnavailableError: Temporal does not answer.
    """
    store = deps.database.connections
    tried: set[ConnectionKey] = set()
    while connections := await store.list(
        caller.id, integrations=[integration], limit=_DELETED_AT_ONCE
    ):
        if tried.issuperset(connection.key for connection in connections):
            msg = f"The connections of {integration!r} are being deleted; repeat the request then."
            raise ApiError(503, "deletion_goes_on", msg, headers={"retry-after": "10"})
        tried.update(connection.key for connection in connections)
        await asyncio.gather(*(delete(deps, caller, connection) for connection in connections))


async def go_on(deps: Dependencies) -> None:
    """Start the setups that an API which died has left; without Temporal the maintenance does."""
    try:
        async with temporal_answers(_PATIENCE):
            await start_awaited(deps.database, deps.temporal)
    except UnavailableError as error:
        log.warning("setups_not_started", code=error.code)


async def _ended_well(
    deps: Dependencies,
    caller: Environment,
    connection: Connection,
    handle: WorkflowHandle[Any, Any],
) -> bool:
    """Wait for a setup; returns False where it goes on by itself."""
    version = connection.credentials_version
    limit = _PATIENCE + await _longest(deps, caller, connection, "validate-connection")
    deadline = time.monotonic() + limit.total_seconds()
    try:
        while await settled(handle, _PATIENCE) is None:
            known = await deps.database.lifecycle.is_validated(connection.key, version)
            if known is not False:
                return known is None
            if time.monotonic() > deadline:
                msg = "The scripts that check the connection have not ended; they go on."
                raise ApiError(504, "connection_validation_unknown", msg)
    except ApiError as error:
        if error.code == "connection_validation_failed":
            raise ApiError(400, error.code, error.message, payload=error.payload) from error
        state = await deps.database.lifecycle.state(connection.key)
        if state is None or state.is_being_deleted:
            raise being_deleted(connection.integration, connection.connection_id) from error
        raise
    return True


async def _longest(
    deps: Dependencies, caller: Environment, connection: Connection, event: Event
) -> timedelta:
    """Return how long the scripts of an event may take."""
    if caller.active_bundle is None:
        return timedelta()
    integration = (await deps.bundles.config(caller.active_bundle)).integration(
        connection.integration
    )
    count = len(integration.event_scripts(event)) if integration else 0
    return timedelta(seconds=count * deps.settings.hook_limit_seconds)


async def _start(
    deps: Dependencies,
    caller: Environment,
    workflow: WorkflowType,
    connection: Connection,
    operation: Literal["creation", "override"] | None = None,
) -> WorkflowHandle[Any, Any]:
    target = ConnectionInput(
        environment=caller.name,
        environment_id=caller.id,
        integration=connection.integration,
        connection_id=connection.connection_id,
        connection_key=connection.key,
        operation=operation,
    )
    async with temporal_answers():
        return await start_connection_workflow(deps.temporal, workflow, target)
