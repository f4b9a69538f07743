"""An incremental sync that saves another model than before fetches all of it."""

from __future__ import annotations

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

DATES = """
async def fetch_data(nango):
    await nango.log("since", nango.last_sync_date)
"""


def files(model: str) -> dict[str, str]:
    made = project(DATES)
    made["nango.yaml"] = (
        made["nango.yaml"]
        .replace("sync_type: full", "sync_type: incremental")
        .replace("output: Issue", f"output: {model}")
        .replace("models:\n", "models:\n  Ticket:\n    id: string\n")
    )
    return made


async def test_sync_with_a_new_model_starts_from_the_beginning(
    stack: Stack, source: Source
) -> None:
    connection = await stack.connect(source.url)
    since = []
    for model in ("Issue", "Issue", "Ticket", "Ticket"):
        await stack.deploy(files(model))
        handle = await stack.start_sync(connection)
        await handle.result()
        lines = await stack.container.database.runs.logs(handle.result_run_id or "")
        since.append(lines[-1].message == "since null")

    assert since == [True, False, True, False]
