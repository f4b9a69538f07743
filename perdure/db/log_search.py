"""Lines of the logs of an environment, searched from the newest back.

Each search looks at a bounded number of lines, so that one for a text that nobody wrote ends, too;
it says where the next one goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["FoundLine", "LogQuery", "LogSearch", "SearchedLogs"]

_LOOKED_AT = 20_000

_SEARCH = """
WITH looked_at AS MATERIALIZED (
    SELECT l.id, l.run_id, l.at, l.level, l.message, l.data
      FROM run_logs l
     WHERE l.environment_id = $1 AND l.id < $2 AND ($3::text IS NULL OR l.run_id = $3)
     ORDER BY l.id DESC
     LIMIT $11
), found AS (
    SELECT l.id, l.run_id, l.at, l.level, l.message, l.data,
           r.kind, r.integration, r.connection_id, r.script, r.variant
      FROM looked_at l JOIN runs r ON r.id = l.run_id
     WHERE ($4::text[] IS NULL OR l.level = ANY ($4))
       AND ($5::text IS NULL OR strpos(lower(l.message), lower($5)) > 0)
       AND ($6::text IS NULL OR r.integration = $6)
       AND ($7::text IS NULL OR r.connection_id = $7)
       AND ($8::text IS NULL OR r.script = $8)
       AND ($9::timestamptz IS NULL OR l.at >= $9)
       AND ($10::timestamptz IS NULL OR l.at < $10)
     ORDER BY l.id DESC
     LIMIT $12
)
SELECT found.*, seen.last, seen.oldest, seen.number
  FROM (SELECT min(id) AS last, min(at) AS oldest, count(*) AS number FROM looked_at) seen
  LEFT JOIN found ON true
 ORDER BY found.id DESC
"""

_AFTER = """
SELECT l.id, l.run_id, l.at, l.level, l.message, l.data,
       r.kind, r.integration, r.connection_id, r.script, r.variant
  FROM run_logs l JOIN runs r ON r.id = l.run_id
 WHERE l.run_id = $2 AND l.id > $3 AND r.environment_id = $1
 ORDER BY l.id
 LIMIT $4
"""

_FIRST = 2**62


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are looked for; all conditions hold at once, None is none.

    Attributes:
        text: Stands in the message, whatever the case.
        levels: The line has one of these.
        since: It was said at this moment or later.
        until: It was said before.
    """

    run_id: str | None = None
    text: str | None = None
    levels: Sequence[str] | None = None
    integration: str | None = None
    connection_id: str | None = None
    script: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line of a log, and of which run it is."""

    id: int
    run_id: str
    at: datetime
    level: str
    message: str
    data: Any
    kind: str
    integration: str | None
    connection_id: str | None
    script: str
    variant: str


@dataclass(frozen=True, slots=True)
class SearchedLogs:
    """What a search found.

    Attributes:
        lines: The newest first.
        next_place: Where an older search goes on, None where there is nothing older.
        back_to: The oldest moment that was looked at.
    """

    lines: Sequence[FoundLine]
    next_place: int | None
    back_to: datetime | None


class LogSearch:
    """Searches logs.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def search(
        self, environment_id: EnvironmentId, query: LogQuery, *, place: int | None, limit: int
    ) -> SearchedLogs:
        """Return lines, the newest first.

        Args:
            environment_id: Where their runs belong.
            query: Which lines.
            place: `next_place` of the search before.
            limit: Most lines to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _SEARCH,
                environment_id,
                _FIRST if place is None else place,
                query.run_id,
                query.levels,
                query.text,
                query.integration,
                query.connection_id,
                query.script,
                query.since,
                query.until,
                _LOOKED_AT,
                limit,
            )
        *_, last, oldest, number = rows[0].values()
        lines = [_line(row) for row in rows if row["id"] is not None]
        if len(lines) == limit:
            return SearchedLogs(lines, lines[-1].id, lines[-1].at)
        is_over = number < _LOOKED_AT or (query.since is not None and oldest < query.since)
        return SearchedLogs(lines, None if is_over else last, oldest)

    async def after(
        self, environment_id: EnvironmentId, run_id: str, line_id: int, *, limit: int
    ) -> Sequence[FoundLine]:
        """Return the lines of a run that were written after one, in the order of writing."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_AFTER, environment_id, run_id, line_id, limit)
        return [_line(row) for row in rows]


def _line(row: asyncpg.Record) -> FoundLine:
    facts = {name: row[name] for name in FoundLine.__slots__}
    facts["data"] = None if facts["data"] is None else json.loads(facts["data"])
    return FoundLine(**facts)
