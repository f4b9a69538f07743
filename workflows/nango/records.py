"""The records cache as scripts see it.

What a script saves is checked when it says so and written behind it. Where it could not be written,
the next call of the helper says why, and the run fails even if there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError
from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.delete_tracks import DeleteTrackActivities, TrackOf
    from activities.records import (
        RECORDS_PER_BATCH,
        BatchInput,
        BatchOutcome,
        BatchVerb,
        RecordActivities,
        duplicates_text,
        ignored_text,
        prepared_lines,
    )
    from perdure.errors import InvalidInputError
    from perdure.nango import HelperError, MergingStrategy, NangoSync, Record
    from perdure.records.prepare import (
        PreparedBatch,
        check_deletions,
        check_ids,
        prepare_batch,
    )
    from perdure.scripts.mapping import plain_records
    from perdure.temporal import policies
    from perdure.temporal.bulk import encoded, encoded_and_plain, encoded_as_is
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.helper_errors import raise_helper_error
    from workflows.late_failures import note_heard
    from workflows.nango.steps import HelperSteps
    from workflows.nango.written_behind import FORMER_LIMITS, Batch, Chunk, WriteBehind, WriteTo

__all__ = ["RecordSteps"]

CheckedT = TypeVar("CheckedT")
ItemT = TypeVar("ItemT")

# Names of changes in histories; they can never change.
_BEHIND = "records-written-behind"
_FIRST_OF_CALL = "first-of-a-call"
_LARGER = "larger-batches"
_STEPS = {
    BatchVerb.SAVE: RecordActivities.batch_save,
    BatchVerb.UPDATE: RecordActivities.batch_update,
    BatchVerb.DELETE: RecordActivities.batch_delete,
}
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
        self._behind = WriteBehind(self._write_batch, self._tell_unwritten)

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"not_after": self._not_after})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._not_after = dict(state.not_after)
        self._settled = set(state.not_after)

    async def settle(self) -> None:
        """See base class."""
        await self._behind.settled()
        self._raise_unwritten()

    async def close(self) -> None:
        """See base class."""
        await self._behind.settled()
        await super().close()

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
        ids = _checked(check_ids, plain)
        if not self._has(_BEHIND):
            if self.validation is not None:
                await self.validation.check_records(model, enumerate(plain))
            await self._write_at_once(BatchVerb.SAVE, plain, model)
            return True
        # As the records are now: the script may go on and change them.
        batches = await self._prepared(plain, model)
        unfit = [found for batch in batches for found in batch.unfit]
        if self.validation is not None and unfit:
            await self.validation.check_records(model, unfit)
        # Whoever writes them need not read them then.
        lines = [prepared_lines(batch) for batch in batches]
        await self._hand_over(
            WriteTo(BatchVerb.SAVE, model, self._not_after.get(model)), lines, ids
        )
        return True

    async def _prepared(
        self, records: Sequence[dict[str, Any]], model: str
    ) -> Sequence[PreparedBatch]:
        fits = None if self.validation is None else self.validation.fits(model)
        batches, ids = list[PreparedBatch](), set[str]()
        try:
            for at in range(0, len(records), RECORDS_PER_BATCH):
                part = records[at : at + RECORDS_PER_BATCH]
                # How much is handed over decides how many steps write it.
                earlier = ids if at and self._has(_FIRST_OF_CALL) else ()
                batches.append(_in_pydantics_form(part, at, earlier, fits))
                ids.update(batches[-1].ids)
        except PydanticSerializationError:
            if self.validation is not None:
                await self.validation.check_records(model, enumerate(records))
            raise
        return batches

    async def batch_update(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        self._check_model(model)
        plain = plain_records(records)
        ids = _checked(check_ids, plain)
        await self._write(BatchVerb.UPDATE, plain, ids, model)
        return True

    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        self._check_model(model)
        plain = plain_records(records)
        _checked(check_deletions, plain)
        named = [{key: record[key] for key in _DELETION if key in record} for record in plain]
        await self._write(BatchVerb.DELETE, named, _checked(check_ids, plain), model)
        return True

    def _check_model(self, model: str) -> None:
        if model not in self._context.models:
            known = ", ".join(self._context.models) or "none"
            msg = f"{model!r} is not an output model of {self._context.script!r}; it has: {known}"
            raise HelperError(msg, code="unknown_model")

    async def _all_written(self) -> None:
        await super()._all_written()
        await self.settle()

    def _raise_unwritten(self) -> None:
        if self._behind.failure is not None:
            raise self._behind.failure.with_traceback(None)

    async def _write(
        self,
        verb: BatchVerb,
        records: Sequence[dict[str, Any]],
        ids: Sequence[str],
        model: str,
    ) -> None:
        if self._has(_BEHIND):
            # As the records are now: the script may go on and change them.
            lines = [(encoded(part),) for part in _lists(records)]
            await self._hand_over(WriteTo(verb, model, self._not_after.get(model)), lines, ids)
        else:
            await self._write_at_once(verb, records, model)

    async def _hand_over(
        self, to: WriteTo, lines: Sequence[tuple[bytes, ...]], ids: Sequence[str]
    ) -> None:
        self._written.add(to.model)
        if not self._has(_LARGER):
            self._behind.limits = FORMER_LIMITS
        for own_lines, own_ids in zip(lines, _lists(ids), strict=True):
            chunk = Chunk(own_lines, own_ids, sum(map(len, own_lines)))
            self._raise_unwritten()
            # A call that never waits would keep the script's other tasks from their turn.
            await asyncio.sleep(0)
            while self._halted or not self._behind.takes(to, chunk):
                await workflow.wait_condition(
                    lambda: not self._halted and self._behind.takes(to, chunk)  # noqa: B023 - awaited here
                )
            self._raise_unwritten()
            self._behind.add(to, chunk)

    async def _write_batch(self, batch: Batch) -> None:
        to, parts = batch.to, tuple(line for chunk in batch.chunks for line in chunk.lines)
        step = BatchInput(
            context=self._context,
            model=to.model,
            sealed=any(map(self.secrets.within_json, parts)),
            not_after=to.not_after,
            bulk=parts,
            number=batch.number,
            prepared=to.verb is BatchVerb.SAVE,
        )
        count = sum(len(chunk.ids) for chunk in batch.chunks)
        summary = f"{_word(to.verb)} {count:,} {to.model}"
        try:
            with self._under_way():
                # Not one of the script's steps: it goes on where those are halted.
                result = await self._engine_step(_STEPS[to.verb], step, summary, policies.RECORDS)
        except ActivityError as error:
            raise_helper_error(error)
        await self._note(to.verb, to.model, result)

    def _tell_unwritten(self, error: HelperError, batch: Batch, dropped: int) -> None:
        note_heard(error)
        more = f", nor {dropped:,} that were handed over after them" if dropped else ""
        self._write_line(
            f"{_word(batch.to.verb)}: {len(batch.ids):,} records of {batch.to.model} could not be "
            f"written{more}: {error}",
            "error",
        )

    async def _write_at_once(
        self, verb: BatchVerb, records: Sequence[dict[str, Any]], model: str
    ) -> None:
        self._written.add(model)
        for part in _lists(records):
            batch = list(part)
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
                        _STEPS[verb],
                        step,
                        f"{_word(verb)} {len(batch):,} {model}",
                        policies.RECORDS,
                        observes=False,
                    )
            except ActivityError as error:
                raise_helper_error(error)
            await self._note(verb, model, result)

    async def _note(self, verb: BatchVerb, model: str, result: BatchOutcome) -> None:
        self.progress.records(model, result.counts)
        if result.duplicates:
            await self.log(duplicates_text(model, result.duplicates), level="warn")
        if result.ignored:
            await self.log(ignored_text(_word(verb), model, result.ignored), level="debug")


def _lists(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), RECORDS_PER_BATCH):
        yield items[start : start + RECORDS_PER_BATCH]


class _OtherFormError(Exception):
    """A record holds what pydantic writes in another form than orjson."""


def _as_is(record: object) -> bytes:
    try:
        return encoded_as_is(record)
    except TypeError as error:
        raise _OtherFormError from error


def _in_pydantics_form(
    records: Sequence[dict[str, Any]],
    first: int,
    earlier: Collection[str],
    fits: Callable[[Any], bool] | None,
) -> PreparedBatch:
    """Prepare records in the form in which pydantic writes them.

    Raises:
        HelperError: `invalid_record`.
        PydanticSerializationError: One cannot be written.
    """
    prepare = partial(prepare_batch, first=first, earlier=earlier, fits=fits)
    try:
        return _checked(partial(prepare, encode=_as_is), records)
    except _OtherFormError:
        _, plain = encoded_and_plain(records)
        return _checked(prepare, plain)


def _word(verb: BatchVerb) -> str:
    return verb.removeprefix("batch_")


def _checked(check: Callable[[Sequence[object]], CheckedT], records: Sequence[object]) -> CheckedT:
    try:
        return check(records)
    except InvalidInputError as error:
        raise HelperError(error.message, code=error.code) from error
