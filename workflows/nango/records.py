"""The records cache as scripts see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.records import BatchInput, BatchOutcome, RecordActivities
    from perdure.errors import InvalidInputError
    from perdure.nango import HelperError, NangoSync, Record
    from perdure.records.prepare import check_ids
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.helper_errors import raise_helper_error
    from workflows.nango.steps import HelperSteps

__all__ = ["RecordSteps"]

_RECORDS_PER_BATCH = 1_000
_COUNTED = ("added", "updated", "deleted", "unchanged")


class RecordSteps(HelperSteps, NangoSync):
    """`batch_save` and `batch_delete`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self.sync_id = context.sync_id
        self.variant = context.variant
        self.last_sync_date: datetime | None = context.last_sync_date
        self._counts: dict[str, dict[str, int]] = {}

    async def batch_save(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        await self._batches(RecordActivities.batch_save, "save", records, model)
        return True

    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        await self._batches(RecordActivities.batch_delete, "delete", records, model)
        return True

    async def _batches(
        self,
        activity: Callable[[Any, BatchInput], Awaitable[BatchOutcome]],
        verb: str,
        records: Sequence[Record],
        model: str,
    ) -> None:
        if model not in self._context.models:
            known = ", ".join(self._context.models) or "none"
            msg = f"{model!r} is not an output model of {self._context.script!r}; it has: {known}"
            raise HelperError(msg, code="unknown_model")
        plain = [_plain_record(record, index) for index, record in enumerate(records)]
        try:
            check_ids(plain)
        except InvalidInputError as error:
            raise HelperError(error.message, code=error.code) from error
        if self.validation is not None and verb == "save":
            await self.validation.check_records(model, plain)
        for start in range(0, len(plain), _RECORDS_PER_BATCH):
            batch = plain[start : start + _RECORDS_PER_BATCH]
            step = BatchInput(
                context=self._context,
                model=model,
                records=batch,
                sealed=self.secrets.within(batch),
            )
            try:
                result = await self._step(
                    activity, step, f"{verb} {len(batch):,} {model}", policies.RECORDS
                )
            except ActivityError as error:
                raise_helper_error(error)
            self._count(model, result.counts)
            if result.duplicates:
                ids = ", ".join(result.duplicates[:10])
                await self.log(
                    f"{len(result.duplicates)} records of {model} had an id that was in the same "
                    f"batch already; the first of each was kept: {ids}",
                    level="warn",
                )

    def _count(self, model: str, counts: Mapping[str, int]) -> None:
        total = self._counts.setdefault(model, {})
        for name, number in counts.items():
            total[name] = total.get(name, 0) + number
        rows = (
            f"| {name} | " + " | ".join(f"{c.get(k, 0):,}" for k in _COUNTED) + " |"
            for name, c in self._counts.items()
        )
        header = "| model | " + " | ".join(_COUNTED) + " |\n" + "|---" * (len(_COUNTED) + 1) + "|"
        workflow.set_current_details("\n".join((header, *rows)))


def _plain_record(record: Record, index: int) -> dict[str, Any]:
    if isinstance(record, BaseModel):
        # What does not fit the model is told by validation, not by pydantic's warning.
        return record.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    if isinstance(record, Mapping):
        return dict(record)
    msg = f"records[{index}] is a {type(record).__name__}, not a model or a mapping"
    raise HelperError(msg, code="invalid_record")
