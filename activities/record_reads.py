"""Steps that read the records cache for scripts."""

from __future__ import annotations

from typing import Any

import orjson
from temporalio import activity

from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.ids import ConnectionKey
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["RecordReadActivities", "RecordsOf", "RecordsRead"]


class RecordsOf(Payload):
    """Which records a script asks for.

    Attributes:
        ids: Only these; None for all, page by page.
        cursor: Where the page begins; None is the first.
        limit: Most records.
        sealed: Whether the script has been given secrets, which records may repeat.
    """

    context: RunContext
    model: str
    ids: list[str] | None = None
    cursor: str | None = None
    limit: int = 1_000
    sealed: bool = False


class RecordsRead(Payload):
    """A page of records, with their metadata.

    Attributes:
        next_cursor: Where the next page begins, None after the last.
    """

    records: list[dict[str, Any]]
    next_cursor: str | None = None
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class RecordReadActivities:
    """Reads what the run itself writes to.

    Of a run that empties the cache that are the new records; a dry run sees what it would have
    changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def read_records(self, wanted: RecordsOf) -> RecordsRead:
        """Return records in the order of their latest change, deleted ones included.

        Raises:
            InvalidInputError: `invalid_cursor`.
        """
        context, key = wanted.context, ConnectionKey(wanted.context.connection_key)
        target = RecordSet(key, wanted.model, context.record_variant)
        which: dict[str, Any] = {
            "ids": wanted.ids,
            "after_cursor": wanted.cursor,
            "limit": wanted.limit,
        }
        if context.dry_run:
            page = await self._database.dry_runs.read(context.run_id, target, **which)
        else:
            page = await self._database.records.list(target, **which)
        return RecordsRead(
            records=[orjson.loads(record) for record in page.records],
            next_cursor=page.next_cursor,
            sealed=wanted.sealed,
        )
