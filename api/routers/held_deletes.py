"""Deletions that a run has held back."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from api.dependencies import Caller, Deps
from api.schemas.held_deletes import ConfirmDeletesBody, ConfirmedDeletes
from api.temporal import settled, start_workflow
from perdure.errors import NotFoundError
from perdure.temporal.names import WorkflowType, search_attributes
from perdure.temporal.payloads import ConfirmDeletesInput, ConfirmDeletesResult

__all__ = ["router"]

# What takes longer goes on without the caller.
_PATIENCE = timedelta(seconds=30)

router = APIRouter(tags=["syncs"])


@router.post("/sync/confirm-deletes")
async def confirm_deletes(deps: Deps, caller: Caller, body: ConfirmDeletesBody) -> ConfirmedDeletes:
    """Delete the records whose deletion is held back, or dismiss it.

    Records that were written or seen since then stay.
    """
    connection = await deps.database.connections.get(
        caller.id, body.provider_config_key, body.connection_id
    )
    tracks = deps.database.delete_tracks
    held = await tracks.held(connection.key, body.sync, body.variant, body.model)
    if not held:
        msg = "No deletion of this sync is held back; a later run may have decided anew."
        raise NotFoundError(msg, code="no_held_deletes")
    if body.dismiss:
        await tracks.drop([track.id for track in held])
        return ConfirmedDeletes(deleted={})
    absent = sum(track.absent or 0 for track in held)
    handle = await start_workflow(
        deps.temporal,
        WorkflowType.CONFIRM_DELETES,
        ConfirmDeletesInput(
            connection_key=connection.key,
            connection_id=connection.connection_id,
            sync=body.sync,
            variant=body.variant,
            model=body.model,
        ),
        workflow_id="/".join(
            (
                *(WorkflowType.CONFIRM_DELETES, caller.name, body.provider_config_key),
                *(body.connection_id, body.sync, body.variant, body.model or "*"),
            )
        ),
        summary=f"delete {absent:,} records of {body.sync} for {body.connection_id}",
        attributes=search_attributes(
            WorkflowType.CONFIRM_DELETES,
            caller.name,
            integration=body.provider_config_key,
            connection_id=body.connection_id,
            script=body.sync,
        ),
        result_type=ConfirmDeletesResult,
    )
    result: ConfirmDeletesResult | None = await settled(handle, _PATIENCE)
    return ConfirmedDeletes(deleted=result.deleted if result else None)
