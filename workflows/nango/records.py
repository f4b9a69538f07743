"""The records cache as scripts see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.delete_tracks import DeleteTrackActivities, TrackOf
    from activities.records import (
        RECORDS_PER_BATCH,
        BatchInput,
        BatchOutcome,
        RecordActivities,
        duplicates_text,
        ignored_text,
    )
    from perdure.errors import InvalidInputError
    from perdure.nango import HelperError, MergingStrategy, NangoSync, Record
    from perdure.records.prepare import check_deletions, check_ids
    from perdure.scripts.mapping import plain_records
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.helper_errors import raise_helper_error
    from workflows.nango.steps import HelperSteps

__all__ = ["RecordSteps"]

_STRATEGIES = ("override", "ignore_if_modified_after")
# All that matters of a record that is to be deleted.
_DELETION = ("id", "deletedAt")


class RecordSteps(HelperSteps, NangoSync):
    """`batch_save`, `batch_update`, `batch_delete` and `set_merging_strategy`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self.sync_id = context.sync_id
        self.variant = context.variant
        self.last_sync_date: datetime | None = context.last_sync_date
        # Of models that a strategy was chosen for: after which place records of others are left.
        self._not_after: dict[str, int | None] = {}
        self._settled: set[str] = set()
        self._written: set[str] = set()

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"not_after": self._not_after})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._not_after = dict(state.not_after)
        self._settled = set(state.not_after)

    async def set_merging_strategy(self, merging: MergingStrategy, model: str) -> None:
        """See base class."""
        self._check_model(model)
        strategy = merging.get("strategy")
        if strategy not in _STRATEGIES:
            msg = f"There is no merging strategy {strategy!r}; there are: {', '.join(_STRATEGIES)}"
            raise HelperError(msg, code="invalid_options")
        if model in self._settled:
            # The script has started again, or works on one of its items, and says so once more.
            self._settled.discard(model)
            return
        if model in self._not_after:
            await self.warn(f"{model} has a merging strategy already; {strategy!r} is ignored.")
            return
        if self.has_requested or model in self._written:
            msg = (
                f"`set_merging_strategy` comes too late for {model!r}: call it before the first "
                "request and before the first batch of the model"
            )
            raise HelperError(msg, code="merging_strategy_too_late")
        # At once: a second call may come before the answer.
        self._not_after[model] = None
        if strategy == "ignore_if_modified_after":
            self._not_after[model] = await self._lookup(
                DeleteTrackActivities.last_place,
                TrackOf(context=self._context, model=model),
                f"last change of {model}",
            )

    async def batch_save(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        self._check_model(model)
        plain = plain_records(records)
        _check(check_ids, plain)
        if self.validation is not None:
            await self.validation.check_records(model, plain)
        await self._batches(RecordActivities.batch_save, "save", plain, model)
        return True

    async def batch_update(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        self._check_model(model)
        plain = plain_records(records)
        _check(check_ids, plain)
        await self._batches(RecordActivities.batch_update, "update", plain, model)
        return True

    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        self._check_model(model)
        plain = plain_records(records)
        _check(check_deletions, plain)
        named = [{key: record[key] for key in _DELETION if key in record} for record in plain]
        await self._batches(RecordActivities.batch_delete, "delete", named, model)
        return True

    def _check_model(self, model: str) -> None:
        if model not in self._context.models:
            known = ", ".join(self._context.models) or "none"
            msg = f"{model!r} is not an output model of {self._context.script!r}; it has: {known}"
            raise HelperError(msg, code="unknown_model")

    async def _batches(
        self,
        activity: Callable[[Any, BatchInput], Awaitable[BatchOutcome]],
        verb: str,
        records: Sequence[dict[str, Any]],
        model: str,
    ) -> None:
        self._written.add(model)
        for start in range(0, len(records), RECORDS_PER_BATCH):
            batch = list(records[start : start + RECORDS_PER_BATCH])
            step = BatchInput(
                context=self._context,
                model=model,
                records=batch,
                sealed=self.secrets.within(batch),
                not_after=self._not_after.get(model),
            )
            try:
                with self._writing():
                    result = await self._step(
                        activity, step, f"{verb} {len(batch):,} {model}", policies.RECORDS
                    )
            except ActivityError as error:
                raise_helper_error(error)
            self.progress.records(model, result.counts)
            if result.duplicates:
                await self.log(duplicates_text(model, result.duplicates), level="warn")
            if result.ignored:
                await self.log(ignored_text(verb, model, result.ignored), level="debug")


def _check(check: Callable[[Sequence[object]], object], records: Sequence[object]) -> None:
    try:
        check(records)
    except InvalidInputError as error:
        raise HelperError(error.message, code=error.code) from error
