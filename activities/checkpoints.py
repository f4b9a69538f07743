"""Checkpoints of scripts, read and written. What a run does to its checkpoint stands on its row."""

from __future__ import annotations

from typing import TypeAlias

from temporalio import activity

from activities.runs import run_start
from perdure.db.checkpoints import Writer, checkpoint_key
from perdure.db.database import Database
from perdure.errors import InvalidInputError
from perdure.ids import ConnectionKey
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["CheckpointActivities", "FoundCheckpoint", "SaveCheckpointInput"]

_LONGEST_KEY = 255

Value: TypeAlias = dict[str, str | int | float | bool]


class FoundCheckpoint(Payload):
    """A checkpoint as it stands; see `perdure.db.checkpoints.Checkpoint`.

    Attributes:
        is_earlier: Whether an earlier run has left it.
    """

    value: Value | None = None
    version: int = 0
    is_earlier: bool = False


class SaveCheckpointInput(Payload):
    """A checkpoint that is to be saved.

    Attributes:
        value: The new one, None to clear it.
        expected: Version that the script saw last, None where it never looked.
    """

    context: RunContext
    value: Value | None = None
    expected: int | None = None


class CheckpointActivities:
    """Steps on the checkpoint of a run's script. All of them may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def get_checkpoint(self, context: RunContext) -> FoundCheckpoint:
        """Return the checkpoint.

        Raises:
            InvalidInputError: `invalid_checkpoint_key`.
        """
        key = _key(context)
        await self._database.runs.start(run_start(context))
        async with self._database.transaction() as conn:
            found = await self._database.checkpoints.get(_connection(context), key, conn=conn)
            await self._database.checkpoints.note(
                context.run_id, found.value, found.value, conn=conn
            )
        value = None if found.value is None else dict(found.value)
        is_earlier = value is not None and found.run_id != context.run_id
        return FoundCheckpoint(value=value, version=found.version, is_earlier=is_earlier)

    @activity.defn
    async def save_checkpoint(self, save: SaveCheckpointInput) -> int:
        """Save or clear the checkpoint, and return its new version.

        Raises:
            InvalidInputError: `invalid_checkpoint_key`.
            ConflictError: `checkpoint_conflict`.
        """
        context, info = save.context, activity.info()
        key = _key(context)
        writer = Writer(
            run_id=context.run_id,
            step_id=f"{info.workflow_run_id}:{info.activity_id}",
            asked_at=info.scheduled_time,
        )
        await self._database.runs.start(run_start(context))
        async with self._database.transaction() as conn:
            checkpoints, connection = self._database.checkpoints, _connection(context)
            before = await checkpoints.get(connection, key, conn=conn)
            version = await checkpoints.put(
                connection, key, save.value, expected=save.expected, writer=writer, conn=conn
            )
            await checkpoints.note(context.run_id, before.value, save.value, conn=conn)
        return version


def _connection(context: RunContext) -> ConnectionKey:
    return ConnectionKey(context.connection_key)


def _key(context: RunContext) -> str:
    # What a run that empties the cache has built is dropped when it fails: so is its checkpoint.
    key = checkpoint_key(context.kind, context.script, context.record_variant)
    if len(key) > _LONGEST_KEY:
        msg = (
            f"The checkpoint's key {key[:60]!r}... has {len(key)} characters, at most "
            f"{_LONGEST_KEY} are possible; give the script or the variant a shorter name."
        )
        raise InvalidInputError(msg, code="invalid_checkpoint_key")
    return key
