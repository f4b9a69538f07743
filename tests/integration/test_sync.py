"""A sync from end to end: a real API, real Temporal, real Postgres."""

from __future__ import annotations

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


async def test_sync_saves_every_record_of_every_page(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)

    result = await stack.run_sync(connection)

    assert result.counts == {"Issue": {"added": 250, "updated": 0, "deleted": 0, "unchanged": 0}}
    records = await stack.records(connection)
    assert sorted(int(record["id"]) for record in records) == list(range(1, 251))
    assert source.served == {1: 1, 2: 1, 3: 1}
    assert source.authorization == {"Bearer key-of-acme"}
