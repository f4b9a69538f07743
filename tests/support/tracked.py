"""A full sync that tracks deletes, and what its cache holds."""

from __future__ import annotations

from tests.support.project import PAGINATED, project
from tests.support.source import Source
from tests.support.stack import Stack

__all__ = ["live", "source_ids", "tracked"]


_FULL = "sync_type: full\n"


def tracked(sync: str = PAGINATED, *, guard: str = "50%") -> dict[str, str]:
    """Return the project of `tests.support.project` with `track_deletes` on."""
    files = project(sync)
    keys = f"{_FULL}        track_deletes: true\n        delete_guard: {guard}\n"
    return files | {"nango.yaml": files["nango.yaml"].replace(_FULL, keys)}


async def live(stack: Stack, connection, **conditions: object) -> set[str]:
    """Ids of the records that are there."""
    records = await stack.records(connection, **conditions)
    return {r["id"] for r in records if r["_nango_metadata"]["deleted_at"] is None}


def source_ids(source: Source) -> set[str]:
    return {str(record["id"]) for record in source.records}
