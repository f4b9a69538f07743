"""Variants of syncs: the same script once more for a connection, with records of its own."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from activities.sync_schedules import sync_input
from activities.sync_selection import declared_syncs
from api.dependencies import Caller, Dependencies, Deps
from api.errors import ApiError
from api.schemas.base import Success
from api.schemas.syncs import SyncVariant, VariantBody
from api.temporal import settled, start_workflow, temporal_answers
from config.project import Sync as DeclaredSync
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from perdure.ids import BASE_VARIANT
from perdure.temporal.names import WorkflowType, search_attributes

__all__ = ["router"]

_MOST = 100
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
# Records are erased on the way; whoever deletes many need not wait for the last of them.
_PATIENCE = timedelta(seconds=45)

_Name = Annotated[str, Path(description="Name of the sync.")]
_Variant = Annotated[str, Path(description="Letters, digits, `_` and `-`; not `base`.")]

router = APIRouter(tags=["syncs"])


@router.post("/sync/{name}/variant/{variant}")
async def create_variant(
    deps: Deps, caller: Caller, name: _Name, variant: _Variant, body: VariantBody
) -> SyncVariant:
    """Make a variant of a sync for a connection; it starts like the sync itself."""
    connection, declared = await _found(deps, caller, name, variant, body)
    connection.refuse_deleting()
    try:
        row = await deps.database.syncs.create_variant(
            connection.key, declared.name, variant, most=_MOST
        )
    except ConflictError as error:
        raise ApiError(400, error.code, error.message) from error
    try:
        async with temporal_answers():
            await deps.schedules.ensure(
                sync_input(caller.name, row),
                declared.interval,
                auto_start=declared.auto_start,
            )
    except UnavailableError:
        # A schedule that was made nonetheless finds no variant and deletes itself.
        await deps.database.syncs.delete(connection.key, row.name, row.variant)
        raise
    return SyncVariant(id=row.id, name=row.name, variant=row.variant)


@router.delete("/sync/{name}/variant/{variant}")
async def delete_variant(
    deps: Deps, caller: Caller, name: _Name, variant: _Variant, body: VariantBody
) -> Success:
    """Delete a variant of a sync with its schedule, its runs and its records."""
    connection, declared = await _found(deps, caller, name, variant, body)
    try:
        row = await deps.database.syncs.get(connection.key, declared.name, variant)
    except NotFoundError as error:
        raise NotFoundError(error.message) from error
    handle = await start_workflow(
        deps.temporal,
        WorkflowType.VARIANT_DELETE,
        sync_input(caller.name, row),
        workflow_id=f"{WorkflowType.VARIANT_DELETE}/{row.id}",
        summary=f"{row.integration} / delete {name}::{variant} for {row.connection_id}",
        attributes=search_attributes(
            WorkflowType.VARIANT_DELETE,
            caller.name,
            integration=row.integration,
            connection_id=row.connection_id,
            script=row.name,
        ),
    )
    await settled(handle, _PATIENCE)
    return Success()


async def _found(
    deps: Dependencies, caller: Environment, name: str, variant: str, body: VariantBody
) -> tuple[Connection, DeclaredSync]:
    if variant.lower() == BASE_VARIANT or not _NAME.fullmatch(variant):
        msg = (
            f"{variant[:50]!r} cannot be a variant: its name has letters, digits, `_` and `-`, and "
            "`base` is the sync itself."
        )
        raise InvalidInputError(msg, code="invalid_variant")
    integration = body.provider_config_key
    await deps.database.integrations.get(caller.id, integration)
    connection = await deps.database.connections.get(caller.id, integration, body.connection_id)
    declared = (await declared_syncs(deps.bundles, caller, integration)).get(name)
    if declared is None:
        msg = f"The integration {integration!r} has no sync {name!r}."
        raise InvalidInputError(msg, code="unknown_sync")
    return connection, declared
