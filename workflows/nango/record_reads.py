"""Reading the records cache from scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.record_reads import RecordReadActivities, RecordsOf, RecordsRead
    from workflows.nango.records import RecordSteps

__all__ = ["RecordReadSteps"]

IdT = TypeVar("IdT", str, int)

_PAGE = 1_000


class RecordReadSteps(RecordSteps):
    """`get_records_by_ids` and `list_records`."""

    async def get_records_by_ids(self, ids: Sequence[IdT], model: str) -> dict[IdT, dict[str, Any]]:
        """See base class."""
        self._check_model(model)
        wanted = {str(record_id): record_id for record_id in ids}
        found: dict[IdT, dict[str, Any]] = {}
        names = list(wanted)
        for start in range(0, len(names), _PAGE):
            page = await self._read(model, ids=names[start : start + _PAGE])
            found |= {wanted[record["id"]]: record for record in page.records}
        return found

    async def list_records(
        self, model: str, *, cursor: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """See base class."""
        self._check_model(model)
        while True:
            page = await self._read(model, cursor=cursor)
            for record in page.records:
                yield record
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    async def _read(
        self, model: str, *, ids: list[str] | None = None, cursor: str | None = None
    ) -> RecordsRead:
        wanted = RecordsOf(
            context=self._context,
            model=model,
            ids=ids,
            cursor=cursor,
            limit=_PAGE,
            sealed=self.secrets.known,
        )
        return await self._lookup(RecordReadActivities.read_records, wanted, f"read {model}")
