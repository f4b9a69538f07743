"""Encryption keys of the server: what they encrypt, and having it encrypted anew."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.key_rotation import RotationInput
from api.dependencies import CallerAccess, Dependencies, Deps
from api.errors import ApiError
from api.schemas.encryption_keys import (
    EncryptionKeysView,
    EncryptionKeyView,
    HistoriesView,
    KeyRotationView,
)
from api.temporal import RPC_TIMEOUT, settled, start_workflow, temporal_answers
from perdure.db.key_rotations import KeyRotation
from perdure.errors import ConflictError, UnavailableError
from perdure.temporal.client import history_retention
from perdure.temporal.names import WorkflowType, search_attributes

__all__ = ["router"]

_WORKFLOW_ID = str(WorkflowType.KEY_ROTATION)
_BEGIN_POLLS = 50
_BEGIN_POLL_SECONDS = 0.1

router = APIRouter(tags=["encryption keys"])


@router.get("/encryption-keys")
async def get_encryption_keys(deps: Deps) -> EncryptionKeysView:
    """Return what is encrypted with which key, how far a rotation is, and what can be retired."""
    store = deps.database.key_rotations
    counts, rotation = await store.counts(), await store.latest()
    histories, interrupted = None, False
    if rotation is not None and rotation.finished_at is None:
        interrupted = await _interrupted(deps.temporal, rotation)
    if rotation is not None and rotation.finished_at is not None:
        with suppress(UnavailableError):
            histories = await _histories(deps.temporal, rotation.finished_at)
    return EncryptionKeysView(
        keys=_keys(store.keyring.key_ids, counts, rotation, histories),
        rotation=None
        if rotation is None
        else KeyRotationView.of(rotation, _WORKFLOW_ID, interrupted=interrupted),
        histories=histories,
    )


@router.post("/encryption-keys/rotate", status_code=202)
async def rotate_encryption_keys(deps: Deps, caller: CallerAccess) -> KeyRotationView:
    """Begin to encrypt everything with the first key of the ring, or join what has begun."""
    primary = deps.database.key_rotations.keyring.primary
    handle = await start_workflow(
        deps.temporal,
        WorkflowType.KEY_ROTATION,
        RotationInput(key_id=primary),
        workflow_id=_WORKFLOW_ID,
        summary=f"encrypt everything with the key {primary}",
        attributes=search_attributes(WorkflowType.KEY_ROTATION, caller.environment),
    )
    return await _begun(deps, handle)


async def _begun(deps: Dependencies, handle: WorkflowHandle[Any, Any]) -> KeyRotationView:
    """Return the rotation that was begun, as soon as a worker has taken it up."""
    for _ in range(_BEGIN_POLLS):
        found = await deps.database.key_rotations.latest()
        if found is not None and found.run_id == handle.first_execution_run_id:
            return KeyRotationView.of(found, _WORKFLOW_ID)
        await asyncio.sleep(_BEGIN_POLL_SECONDS)
    try:
        await settled(handle, timedelta(seconds=_BEGIN_POLL_SECONDS))
    except ApiError as error:
        raise ConflictError(error.message, code=error.code) from error
    msg = (
        f"The rotation was begun, but no worker has taken it up; look at the workflow "
        f"{_WORKFLOW_ID!r} and at `perdure keys status`."
    )
    raise UnavailableError(msg, code="rotation_not_taken_up")


async def _interrupted(client: Client, rotation: KeyRotation) -> bool:
    """Say whether a rotation without an end was ended by force."""
    handle = client.get_workflow_handle(_WORKFLOW_ID, run_id=rotation.run_id)
    try:
        async with temporal_answers():
            described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except UnavailableError:
        return False
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return True
    return described.status is not WorkflowExecutionStatus.RUNNING


def _keys(
    ring: tuple[str, ...],
    counts: Mapping[str, Mapping[str, int]],
    rotation: KeyRotation | None,
    histories: HistoriesView | None,
) -> list[EncryptionKeyView]:
    by_key: dict[str, dict[str, int]] = {key_id: {} for key_id in ring}
    for column, found in counts.items():
        for key_id, count in found.items():
            by_key.setdefault(key_id, {})[column] = count
    primary = ring[0]
    is_over = rotation is not None and rotation.finished_at is not None
    none_older = histories is not None and histories.older == 0
    rotated = is_over and rotation is not None and rotation.key_id == primary
    return [
        EncryptionKeyView(
            id=key_id,
            encrypts=key_id == primary,
            in_ring=key_id in ring,
            values=values,
            can_be_retired=key_id != primary
            and key_id in ring
            and not values
            and rotated
            and none_older,
        )
        for key_id, values in by_key.items()
    ]


async def _histories(client: Client, rotated_at: datetime) -> HistoriesView:
    older = f"StartTime < '{rotated_at.isoformat()}' AND WorkflowId != '{_WORKFLOW_ID}'"
    async with temporal_answers():
        every = await client.count_workflows(older, rpc_timeout=RPC_TIMEOUT)
        running = await client.count_workflows(
            f"{older} AND ExecutionStatus = 'Running'", rpc_timeout=RPC_TIMEOUT
        )
        kept = await history_retention(client)
    return HistoriesView(
        older=every.count,
        running=running.count,
        retention_days=kept / timedelta(days=1),
        gone_at=None if running.count else rotated_at + kept,
    )
