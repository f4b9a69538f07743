"""Steps that write batches and are taken for dead while they live on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.records import BatchInput, BatchOutcome, BatchVerb
from perdure.app.registrations import activities_of
from perdure.errors import UnavailableError
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.bulk import encoded
from tests.support.runs import a_run
from tests.support.source import Source
from tests.support.stack import Stack


async def attempt(
    stack: Stack, verb: BatchVerb, batch: BatchInput, number: int, *, after: float
) -> BatchOutcome:
    """Do an attempt of a step that was given out some seconds after the run began."""
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.info,
        attempt=number,
        workflow_id=batch.context.workflow_id,
        current_attempt_scheduled_time=batch.context.started_at + timedelta(seconds=after),
    )
    async with HttpTransport(AddressGuard(allow_private_networks=True)) as transport:
        steps = {each.__name__: each for each in activities_of(stack.container, transport)}
        outcome: BatchOutcome = await environment.run(steps[verb], batch)
    return outcome


@pytest.mark.parametrize("verb", list(BatchVerb))
async def test_a_batch_that_lost_its_heartbeat_does_not_write_after_those_behind_it(
    stack: Stack, source: Source, verb: BatchVerb
) -> None:
    connection = await stack.connect(source.url)
    context = await a_run(stack, connection)
    await stack.save(stack.record_set(connection), {"id": "1", "title": "before"})

    def batch(number: int, record: dict[str, Any]) -> BatchInput:
        return BatchInput(context=context, model="Issue", bulk=(encoded([record]),), number=number)

    first = batch(1, {"id": "1", "title": "first"})
    await attempt(stack, verb, first, 2, after=7)
    second = batch(2, {"id": "1", "title": "second"})
    await attempt(stack, BatchVerb.SAVE, second, 1, after=8)

    with pytest.raises(UnavailableError) as late:
        await attempt(stack, verb, first, 1, after=1)

    assert late.value.code == "attempt_superseded"
    (record,) = await stack.records(connection)
    assert (record["title"], record["_nango_metadata"]["deleted_at"]) == ("second", None)
    # What an attempt did whose answer was lost is done again, and counts once.
    again = await attempt(stack, BatchVerb.SAVE, second, 2, after=15)
    assert again.counts["unchanged"] == 1
    run = await stack.container.database.runs.of_workflow(context.workflow_id)
    assert run is not None
    assert run.counts["Issue"]["unchanged"] == 0
