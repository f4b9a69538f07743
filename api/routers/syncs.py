"""Syncs: what runs when is Temporal's; what came of it is in our database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from activities.sync_runs import SyncRuns
from activities.sync_schedules import sync_input
from activities.sync_selection import (
    SelectedSync,
    SyncName,
    command_each,
    command_syncs,
    declared_syncs,
    select_syncs,
)
from api.dependencies import Caller, Dependencies, Deps
from api.errors import ApiError
from api.routers.parameters import (
    IntegrationQuery,
    OptionalConnectionIdHeader,
    OptionalIntegrationHeader,
)
from api.schemas.base import Success
from api.schemas.syncs import (
    Frequency,
    FrequencyBody,
    SyncStatusList,
    SyncTarget,
    TriggerBody,
)
from api.sync_statuses import sync_statuses
from api.temporal import RPC_TIMEOUT, temporal_answers
from config.intervals import IntervalError, normalised_runs, parse_runs
from perdure.db.environments import Environment
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.temporal.payloads import SyncInput

__all__ = ["router"]

# A run that is to end has seconds to do so.
_PATIENCE = timedelta(seconds=40)

router = APIRouter(tags=["syncs"])


@router.post("/sync/trigger")
async def trigger_syncs(
    deps: Deps,
    caller: Caller,
    body: TriggerBody,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Run syncs now, or right after the run that is under way.

    `reset` ends that run and forgets where the syncs stand; `emptyCache` does so too, and replaces
    all records once the run has succeeded.
    """
    selected = await _select(deps, caller, body, integration, connection_id)
    if body.restart is None:
        return await _each(selected, caller, deps.schedules.trigger)
    start_over = partial(_sync_runs(deps).start_over, restart=body.restart)
    return await _each(selected, caller, start_over, _PATIENCE)


@router.post("/sync/start")
async def start_syncs(
    deps: Deps,
    caller: Caller,
    body: SyncTarget,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Let paused syncs run by their schedules again, at once where a run is due.

    It is where one was scheduled meanwhile, where none ever ran, and where the last one was
    cancelled.
    """
    selected = await _select(deps, caller, body, integration, connection_id)
    return await _each(selected, caller, _sync_runs(deps).start)


@router.post("/sync/pause")
async def pause_syncs(
    deps: Deps,
    caller: Caller,
    body: SyncTarget,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Stop syncs from running, and cancel the runs under way; what they saved stays."""
    selected = await _select(deps, caller, body, integration, connection_id)
    return await _each(selected, caller, _sync_runs(deps).pause)


@router.get("/sync/status")
async def get_sync_status(
    deps: Deps,
    caller: Caller,
    integration: IntegrationQuery,
    syncs: Annotated[str, Query(description="`*`, or names separated by commas.")],
    connection_id: str | None = None,
) -> SyncStatusList:
    """Say how syncs stand."""
    with _missing_connections():
        selected = await select_syncs(
            deps.database,
            deps.bundles,
            caller,
            integration=integration,
            connection_id=connection_id,
            names=[SyncName.parse(name.strip()) for name in syncs.split(",") if name.strip()],
        )
    return SyncStatusList(syncs=await sync_statuses(deps, caller, integration, selected))


@router.put("/sync/update-connection-frequency")
async def update_frequency(deps: Deps, caller: Caller, body: FrequencyBody) -> Frequency:
    """Have a sync of one connection run more or less often than deployed."""
    integration = body.provider_config_key
    await deps.database.integrations.get(caller.id, integration)
    connection = await deps.database.connections.get(caller.id, integration, body.connection_id)
    declared = (await declared_syncs(deps.bundles, caller, integration)).get(body.sync_name)
    if declared is None:
        msg = f"The integration {integration!r} has no sync {body.sync_name!r}."
        raise InvalidInputError(msg, code="unknown_sync")
    try:
        row = await deps.database.syncs.get(connection.key, declared.name, body.sync_variant)
    except NotFoundError as error:
        raise InvalidInputError(error.message, code=error.code) from error
    frequency = None if body.frequency is None else _frequency(body.frequency)
    interval = declared.interval if frequency is None else parse_runs(frequency)
    await deps.database.syncs.set_frequency(connection.key, row.name, frequency, row.variant)
    async with temporal_answers():
        await deps.schedules.set_interval(sync_input(caller.name, row), interval)
    return Frequency(frequency=frequency or normalised_runs(declared.runs))


def _frequency(text: str) -> str:
    try:
        return normalised_runs(text)
    except IntervalError as error:
        field = FieldError(error.code, error.message, ("frequency",))
        raise InvalidInputError(error.message, errors=[field]) from error


def _sync_runs(deps: Dependencies) -> SyncRuns:
    return SyncRuns(deps.database, deps.temporal, deps.schedules)


async def _select(
    deps: Dependencies,
    caller: Environment,
    target: SyncTarget,
    integration: str | None,
    connection_id: str | None,
) -> list[SelectedSync]:
    key = target.provider_config_key or integration
    if not key:
        msg = "Name the integration as `provider_config_key`."
        raise InvalidInputError(msg, code="missing_provider_config_key")
    with _missing_connections():
        return await command_syncs(
            deps.database,
            deps.bundles,
            caller,
            integration=key,
            connection_id=target.connection_id or connection_id,
            names=[
                SyncName.parse(sync) if isinstance(sync, str) else SyncName(sync.name, sync.variant)
                for sync in target.syncs
            ],
        )


@contextmanager
def _missing_connections() -> Iterator[None]:
    """Answer with 404 where a connection is not known; elsewhere clients know it as a 400."""
    try:
        yield
    except NotFoundError as error:
        if error.code != "unknown_connection":
            raise
        raise ApiError(404, error.code, error.message) from error


async def _each(
    selected: Sequence[SelectedSync],
    caller: Environment,
    do: Callable[[SyncInput], Awaitable[bool]],
    patience: timedelta = RPC_TIMEOUT,
) -> Success:
    async def answered(sync: SyncInput) -> bool:
        async with temporal_answers(patience):
            return await do(sync)

    await command_each(selected, caller, answered)
    return Success()
