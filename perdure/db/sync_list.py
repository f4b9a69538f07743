"""Syncs of an environment with what their last run came to, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["ListedSync", "SyncListStore"]

# By connection and name, so that a page begins where the last one ended.
_LIST = """
SELECT s.id, i.unique_key AS integration, c.connection_id, s.name, s.variant, s.frequency,
       s.last_sync_date, coalesce(last.status, 'never') AS status, last.id AS run_id,
       last.started_at, last.finished_at, last.counts,
       c.id AS connection_key
  FROM connections c
  JOIN integrations i ON i.id = c.integration_id
  JOIN syncs s ON s.connection_key = c.id
  LEFT JOIN LATERAL last_run_of_sync(c.id, s.name, s.variant) last ON true
 WHERE c.environment_id = $1
   AND ($2::text IS NULL OR i.unique_key = $2)
   AND ($3::text IS NULL OR s.name = $3)
   AND ($4::text IS NULL OR strpos(lower(c.connection_id), lower($4)) > 0)
   AND ($5::text[] IS NULL OR coalesce(last.status, 'never') = ANY ($5))
   AND (c.id, s.name, s.variant) > ($6, $7, $8)
 ORDER BY c.id, s.name, s.variant
 LIMIT $9
"""


@dataclass(frozen=True, slots=True)
class ListedSync:
    """A sync with its last run.

    Attributes:
        id: Stable id that clients see.
        frequency: Interval that overrides the deployed one, None where it does not.
        last_sync_date: Start of the last run that succeeded, None before the first.
        status: Status of the last run, `never` where there is none.
        run_id: The last run; None, as the next three, where there is none.
        counts: What it did to records, by model.
        connection_key: Row id of the connection.
    """

    id: UUID
    integration: str
    connection_id: str
    name: str
    variant: str
    frequency: str | None
    last_sync_date: datetime | None
    status: str
    run_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[str, Any] | None
    connection_key: int

    @property
    def place(self) -> tuple[int, str, str]:
        """Where the next page begins."""
        return self.connection_key, self.name, self.variant


class SyncListStore:
    """Lists syncs.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        integration: str | None = None,
        name: str | None = None,
        connection: str | None = None,
        statuses: Sequence[str] | None = None,
        after: tuple[int, str, str] = (0, "", ""),
        limit: int,
    ) -> Sequence[ListedSync]:
        """Return syncs by connection and name; all conditions hold at once.

        Args:
            environment_id: Where they belong.
            integration: Only those of this integration.
            name: Only those of this script.
            connection: Only those with this text in the name of their connection.
            statuses: Only those whose last run has one of these.
            after: `place` of the last one of the page before.
            limit: Most syncs to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _LIST, environment_id, integration, name, connection, statuses, *after, limit
            )
        return [ListedSync(*row.values()) for row in rows]
