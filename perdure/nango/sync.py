"""The helper of syncs: everything of `NangoAction`, and the records cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime

from perdure.nango.action import NangoAction
from perdure.nango.values import Record

__all__ = ["NangoSync"]


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

        Args:
            records: Any number of them, each with an `id` (string or integer).
            model: One of the sync's output models.

        Raises:
            HelperError: A record has no usable `id` (its index is named), or the model is not
                one of the sync's. Nothing of the call is saved then.
        """

    @abstractmethod
    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """Mark records as deleted; their last payload is kept.

        Args:
            records: Each with an `id`.
            model: One of the sync's output models.
        """
