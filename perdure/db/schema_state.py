"""Whether a database has the schema that this release needs.

`perdure.db.migrate` applies revisions; processes only ask, often and without Alembic. The ids of
revisions are numbers of four digits, so their order is that of texts.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import asyncpg

from perdure.db.pool import Pool, borrowed

__all__ = ["missing_revisions"]

_CURRENT = "SELECT version_num FROM alembic_version"


async def missing_revisions(pool: Pool) -> list[str]:
    """Return the revisions that this release needs and the database lacks, in order.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    async with borrowed(pool) as conn:
        try:
            current = await conn.fetchval(_CURRENT)
        except asyncpg.UndefinedTableError:
            current = None
    return [revision for revision in _needed() if revision > (current or "")]


@cache
def _needed() -> tuple[str, ...]:
    folder = files("perdure.db.migrations") / "versions"
    names = (file.name for file in folder.iterdir())
    # `r0001_initial.py` is the revision 0001; a test holds names and ids together.
    return tuple(sorted(name[1:5] for name in names if name.startswith("r")))
