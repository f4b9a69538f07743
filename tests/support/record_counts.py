"""What `record_counts` says of a set of records."""

from __future__ import annotations

from perdure.db.database import Database
from perdure.db.records import RecordSet

_LIVE = """
SELECT live FROM record_counts WHERE connection_key = $1 AND model = $2 AND variant = $3
"""


async def live_count(database: Database, target: RecordSet) -> int:
    """Return how many records are there, without the deleted ones."""
    live = await database.pool.fetchval(_LIVE, target.connection_key, target.model, target.variant)
    return live or 0
