"""Lines that runs log. A step that is repeated does not write its lines twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import asyncpg

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import NotFoundError
from perdure.records.canonical import to_json

__all__ = ["LogLevel", "LogLine", "RunLogs", "StoredLogLine"]

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]

_APPEND_LOGS = """
INSERT INTO run_logs (run_id, environment_id, at, level, message, data, step_id)
SELECT $1, (SELECT environment_id FROM runs WHERE id = $1), at, level, message, data, step_id
  FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::json[], $6::text[])
       AS u (at, level, message, data, step_id)
ON CONFLICT (run_id, step_id) DO NOTHING
"""

_LOGS = """
SELECT id, at, level, message, data
  FROM run_logs
 WHERE run_id = $1 AND id > $2
 ORDER BY id
 LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a run logs.

    Attributes:
        at: When it was said.
        level: How grave it is.
        message: What it says.
        data: Any JSON value that belongs to it.
        step_id: Names the line within its run; of lines with one name only the first is kept.
            None always writes.
    """

    at: datetime
    level: LogLevel
    message: str
    data: Any = None
    step_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredLogLine:
    """A line as it was logged; `id` grows in the order of writing."""

    id: int
    at: datetime
    level: LogLevel
    message: str
    data: Any


class RunLogs:
    """Keeps what runs log."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def append_logs(
        self, run_id: str, lines: Sequence[LogLine], *, conn: DbConnection | None = None
    ) -> None:
        """Write lines to a run's log, in one statement.

        A line whose `step_id` the run has already is left out, so that a step that is repeated
        after its lines were written does not write them again.

        Raises:
            NotFoundError: `unknown_run`.
        """
        if not lines:
            return
        try:
            async with borrowed(self._pool, conn) as connection:
                await connection.execute(
                    _APPEND_LOGS,
                    run_id,
                    [line.at for line in lines],
                    [line.level for line in lines],
                    [_storable(line.message) for line in lines],
                    [None if line.data is None else to_json(line.data) for line in lines],
                    [line.step_id for line in lines],
                )
        except asyncpg.ForeignKeyViolationError as error:
            msg = f"There is no run {run_id!r}."
            raise NotFoundError(msg, code="unknown_run") from error

    async def logs(
        self, run_id: str, *, after_id: int = 0, limit: int = 1000
    ) -> Sequence[StoredLogLine]:
        """Return lines of a run in the order they were written.

        Args:
            run_id: Which run.
            after_id: Only lines after this one; the last `id` of a page leads to the next.
            limit: Most lines to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LOGS, run_id, after_id, limit)
        return [
            StoredLogLine(row["id"], row["at"], row["level"], row["message"], _decoded(row["data"]))
            for row in rows
        ]


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)


def _storable(message: str) -> str:
    # A log line is never a reason to fail: what Postgres text cannot hold is replaced.
    return message.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
