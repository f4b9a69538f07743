"""Reading the records cache from a script."""

from __future__ import annotations

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

READS = """
async def fetch_data(nango):
    await nango.batch_save([{"id": str(n), "title": f"t{n}"} for n in range(1, 2301)], "Issue")
    await nango.batch_delete([{"id": 2}], "Issue")
    found = await nango.get_records_by_ids([1, "2", 9999], "Issue")
    everything = [record async for record in nango.list_records("Issue")]
    after = everything[-2]["_nango_metadata"]["cursor"]
    rest = [record async for record in nango.list_records("Issue", cursor=after)]
    await nango.log({
        "keys": [repr(key) for key in found],
        "actions": [record["_nango_metadata"]["last_action"] for record in found.values()],
        "count": len(everything),
        "rest": [record["id"] for record in rest],
    })
"""


async def test_script_reads_what_it_saved(stack: Stack, source: Source) -> None:
    await stack.deploy(project(READS))
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert lines[-1].message == (
        '{"keys":["1","\'2\'"],"actions":["ADDED","DELETED"],"count":2300,"rest":["2"]}'
    )
