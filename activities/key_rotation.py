"""Encrypting everything anew with the first key of the ring: our database, and schedules."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.api.common.v1 import Payload as PayloadProto
from temporalio.client import (
    Client,
    ScheduleActionStartWorkflow,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from perdure.crypto.keyring import DecryptionError, KeyRing
from perdure.db.encrypted_columns import ENCRYPTED_COLUMNS
from perdure.db.key_rotations import KeyRotationStore
from perdure.temporal.codec import rewrap_payload, rewrap_serialized_payload
from perdure.temporal.payloads import Payload

__all__ = [
    "ColumnSlice",
    "KeyRotationActivities",
    "RotationBegun",
    "RotationInput",
    "RotationOver",
    "ScheduleSlice",
    "Slice",
]

_SCHEDULES_AT_ONCE = 8


class RotationInput(Payload):
    """Which key everything is to be encrypted with, and in which portions.

    Attributes:
        key_id: First key of the ring of whoever asked for it.
        slice_seconds: How long a step goes on.
        rows: Rows that are locked together.
        pause_seconds: How long it waits between two portions of rows.
    """

    key_id: str
    slice_seconds: float = 15.0
    rows: int = 200
    pause_seconds: float = 0.0


class RotationBegun(Payload):
    """A rotation that began, and the columns it goes through."""

    rotation: int
    columns: list[str]


class ColumnSlice(Payload):
    """A portion of a column; `after` is where the one before ended."""

    rotation: int
    column: str
    after: list[Any] | None = None
    slice_seconds: float
    rows: int
    pause_seconds: float = 0.0


class ScheduleSlice(Payload):
    """A portion of the schedules; `page` is hexadecimal."""

    rotation: int
    page: str = ""
    slice_seconds: float


class Slice(Payload):
    """What became of a portion; `after` or `page` say where the next one begins."""

    rewritten: int
    after: list[Any] | None = None
    page: str = ""


class RotationOver(Payload):
    """The rotation that is over."""

    rotation: int


class KeyRotationActivities:
    """Steps of a rotation. Repeating one finds less to do.

    Args:
        store: Encrypts what is in our database.
        client: Whose namespace's schedules are encrypted.
    """

    def __init__(self, store: KeyRotationStore, client: Client) -> None:
        self._store = store
        self._client = client

    @activity.defn
    async def begin_key_rotation(self, wanted: RotationInput) -> RotationBegun:
        """Note that it begins.

        Raises:
            ApplicationError: `key_rings_differ`, this worker encrypts with another key.
        """
        primary = self._store.keyring.primary
        if primary != wanted.key_id:
            msg = (
                f"The API encrypts with the key {wanted.key_id!r}, this worker with {primary!r}. "
                "Give all processes the same PERDURE_ENCRYPTION_KEYS and restart them."
            )
            raise ApplicationError(msg, type="key_rings_differ", non_retryable=True)
        rotation = await self._store.begin(activity.info().workflow_run_id or "")
        return RotationBegun(rotation=rotation, columns=list(ENCRYPTED_COLUMNS))

    @activity.defn
    async def rotate_column(self, portion: ColumnSlice) -> Slice:
        """Encrypt values of a column anew, for as long as a step goes on."""
        until = time.monotonic() + portion.slice_seconds
        after, rewritten = _place(portion.after), 0
        while True:
            done = await self._store.rotate_rows(
                portion.rotation,
                portion.column,
                after,
                limit=portion.rows,
                payload=rewrap_serialized_payload,
            )
            after, rewritten = done.after, rewritten + done.rewritten
            if after is None or time.monotonic() >= until:
                return Slice(rewritten=rewritten, after=_told(after))
            await asyncio.sleep(portion.pause_seconds)

    @activity.defn
    async def rotate_schedules(self, portion: ScheduleSlice) -> Slice:
        """Encrypt what schedules start workflows with anew, for as long as a step goes on."""
        until = time.monotonic() + portion.slice_seconds
        page, rewritten = bytes.fromhex(portion.page), 0
        limit = asyncio.Semaphore(_SCHEDULES_AT_ONCE)

        async def rotate(schedule_id: str) -> bool:
            async with limit:
                return await self._rotate_schedule(schedule_id)

        while True:
            found = await self._client.list_schedules(next_page_token=page or None)
            await found.fetch_next_page()
            ids = [schedule.id for schedule in found.current_page or ()]
            changed = sum(await asyncio.gather(*(rotate(one) for one in ids)))
            await self._store.note(portion.rotation, "schedules", changed)
            page, rewritten = found.next_page_token or b"", rewritten + changed
            if not page or time.monotonic() >= until:
                return Slice(rewritten=rewritten, page=page.hex())

    @activity.defn
    async def finish_key_rotation(self, over: RotationOver) -> None:
        """Note that it is done."""
        await self._store.finish(over.rotation)

    async def _rotate_schedule(self, schedule_id: str) -> bool:
        handle = self._client.get_schedule_handle(schedule_id)
        ring, changed = self._store.keyring, False

        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate | None:
            nonlocal changed
            action = found.description.schedule.action
            changed = isinstance(action, ScheduleActionStartWorkflow) and _rewrap(ring, action)
            return ScheduleUpdate(found.description.schedule) if changed else None

        try:
            await handle.update(change)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return changed


def _rewrap(ring: KeyRing, action: ScheduleActionStartWorkflow) -> bool:
    """Encrypt the payloads of a schedule's action anew; says whether there was anything to do."""
    payload = _Rewrapper(ring)
    action.args = [payload(one) for one in action.args]
    if action.memo:
        action.memo = {name: payload(one) for name, one in action.memo.items()}
    action.static_summary = payload(action.static_summary)
    action.static_details = payload(action.static_details)
    return payload.changed


class _Rewrapper:
    """Encrypts payloads anew and remembers whether one of them changed."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self.changed = False

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, PayloadProto):
            return value
        try:
            rewrapped = rewrap_payload(self._ring, value)
        except DecryptionError:
            return value
        self.changed |= rewrapped.data != value.data
        return rewrapped


def _told(after: tuple[Any, ...] | None) -> list[Any] | None:
    """Return the key of a row as JSON can hold it."""
    if after is None:
        return None
    return [
        {"hex": part.hex()}
        if isinstance(part, bytes)
        else str(part)
        if isinstance(part, UUID)
        else part
        for part in after
    ]


def _place(after: list[Any] | None) -> tuple[Any, ...] | None:
    """Return the key of a row as it was before `_told`; Postgres reads a UUID from its text."""
    if after is None:
        return None
    return tuple(bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in after)
