"""The helper of syncs: everything of `NangoAction`, and the records cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from perdure.nango.action import NangoAction
from perdure.nango.values import DeletedKeys, MergingStrategy, Record

__all__ = ["NangoSync"]

IdT = TypeVar("IdT", str, int)


class NangoSync(NangoAction):
    """The helper of syncs: everything of `NangoAction`, and the records cache.

    Attributes:
        sync_id: Id of the sync of this connection.
        variant: Variant of the sync, `base` where it has none.
        last_sync_date: Start of the last successful run, None before the first one.
    """

    sync_id: str
    variant: str
    last_sync_date: datetime | None

    @abstractmethod
    async def batch_save(self, records: Sequence[Record], model: str) -> bool:
        """Insert or update records; what is unchanged is left alone.

        They are checked at once and written behind the script, before anything that may look at
        records. What could not be written is raised by the next call of the helper, and fails the
        run in any case.

        Args:
            records: Any number of them, each with an `id` (string or integer).
            model: One of the sync's output models.

        Raises:
            HelperError: A record has no usable `id` (its index is named), or the model is not
                one of the sync's. Nothing of the call is saved then.
        """

    @abstractmethod
    async def batch_update(self, records: Sequence[Record], model: str) -> bool:
        """Merge fields into records that are there; what comes out the same is left alone.

        Objects are merged key by key, however deep; lists and everything else are replaced. Ids
        that are not known, or deleted, are ignored. Of models only the fields that were set count.

        Args:
            records: Parts of records, each with an `id`.
            model: One of the sync's output models.

        Raises:
            HelperError: As `batch_save`.
        """

    @abstractmethod
    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """Mark records as deleted; their last payload is kept.

        Args:
            records: Each with an `id`; a `deletedAt` (datetime, or text in ISO 8601) says when it
                was deleted at the source.
            model: One of the sync's output models.

        Raises:
            HelperError: As `batch_save`, or a `deletedAt` is no moment.
        """

    @abstractmethod
    async def set_merging_strategy(self, merging: MergingStrategy, model: str) -> None:
        """Say what becomes of records that others change while this run is under way.

        The first call of a run for a model counts; later ones are logged and ignored.

        Args:
            merging: `{"strategy": "override"}`, or `{"strategy": "ignore_if_modified_after"}`: what
                others, such as webhooks, have changed since this call is left as they left it.
            model: One of the sync's output models.

        Raises:
            HelperError: `merging_strategy_too_late`, the run has made a request already, or written
                records of the model; or there is no such strategy.
        """

    @abstractmethod
    async def track_deletes_start(self, model: str) -> None:
        """Begin to note which records of a model are seen, until `track_deletes_end`.

        What was begun lasts over runs that fail or end without it; the next call takes it up.

        Args:
            model: One of the sync's output models.
        """

    @abstractmethod
    async def track_deletes_end(self, model: str) -> DeletedKeys:
        """Delete the records of a model that were not saved since `track_deletes_start`.

        Records that anybody wrote meanwhile stay. Where that would be too many, nothing is deleted
        and somebody has to confirm it: see `delete_guard` in `docs/helper.md`.

        Args:
            model: One of the sync's output models.

        Returns:
            What was deleted.

        Raises:
            HelperError: `track_deletes_not_started`.
        """

    @abstractmethod
    async def delete_records_from_previous_executions(self, model: str) -> DeletedKeys:
        """Delete the records of a model that this run did not save, as `track_deletes_end` does.

        Args:
            model: One of the sync's output models.

        Returns:
            What was deleted.

        Raises:
            HelperError: `deletes_not_tracked`: a run takes notes only where its script calls this
                method by its name.
        """

    @abstractmethod
    async def get_records_by_ids(self, ids: Sequence[IdT], model: str) -> dict[IdT, dict[str, Any]]:
        """Return records by their ids, each with its `_nango_metadata`.

        Args:
            ids: Any number of ids, strings or integers; the result has them as they were given.
            model: One of the sync's output models.

        Returns:
            Those that are known, deleted ones included: their `last_action` is `DELETED`.

        Raises:
            HelperError: The model is not one of the sync's.
        """

    @abstractmethod
    def list_records(
        self, model: str, *, cursor: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Iterate over all records of a model, in the order of their latest change.

        Deleted ones are included. A record that changes meanwhile comes once more at the end.

        Args:
            model: One of the sync's output models.
            cursor: Only changes after this one: the `cursor` of a record's `_nango_metadata`.

        Raises:
            HelperError: The model is not one of the sync's, or the cursor was never given out.
        """
