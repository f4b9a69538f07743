"""A cancelled run stops within seconds, whatever its script is doing, and is shown as cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from werkzeug import Response

from perdure.db.runs import RunStatus
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

STUBBORN = """
async def fetch_data(nango):
    while True:
        try:
            await nango.get(endpoint="/issues")
        except Exception as error:
            await nango.log("ignored", repr(error))
"""


@pytest.mark.timeout(60)
async def test_cancelling_stops_a_script_that_catches_every_exception(
    stack: Stack, source: Source
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(_: int) -> Response | None:
        asked.set()
        release.wait(20)
        return None

    source.before = hang
    await stack.deploy(project(STUBBORN))
    handle = await stack.start_sync(await stack.connect(source.url))
    await asyncio.to_thread(asked.wait, 20)

    await handle.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    release.set()

    assert isinstance(caught.value.cause, CancelledError)
    run = await stack.run(handle)
    assert (run.status, run.error) == (RunStatus.CANCELLED, None)
