"""Bulk values of workflows and steps, between a real worker and a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.worker import Worker

from perdure.db.blobs import BlobStore
from tests.support.payloads import named, stored
from tests.support.stack import Stack

with workflow.unsafe.imports_passed_through():
    from activities.records import BatchInput
    from tests.support.run_context import CONTEXT

LINE = b'["' + b"x" * 100_000 + b'"]'


def batch() -> BatchInput:
    return BatchInput(context=CONTEXT, model="Issue", bulk=(LINE, LINE))


@activity.defn
async def twice(given: BatchInput) -> BatchInput:
    return given.model_copy(update={"bulk": given.bulk * 2})


@workflow.defn
class GivesUp:
    """Asks for a step, and ends before anybody has heard of it."""

    @workflow.run
    async def run(self) -> str:
        # Nothing here holds on to what the step was to be given.
        workflow.start_activity(twice, batch(), start_to_close_timeout=timedelta(seconds=5))
        workflow.start_activity(
            twice, batch(), start_to_close_timeout=timedelta(seconds=5)
        ).cancel()
        return "given up"


@workflow.defn
class Doubles:
    """Passes on what a step returns."""

    @workflow.run
    async def run(self) -> int:
        given = batch()
        for _ in range(2):
            given = await workflow.execute_activity(
                twice, given, start_to_close_timeout=timedelta(seconds=5)
            )
        return len(given.bulk)


@asynccontextmanager
async def working(stack: Stack) -> AsyncIterator[str]:
    queue = f"stand-ins-{uuid4()}"
    client = stack.container.temporal
    async with Worker(client, task_queue=queue, workflows=[GivesUp, Doubles], activities=[twice]):
        yield queue


async def test_a_step_that_is_given_up_at_once_keeps_no_run_from_ending(stack: Stack) -> None:
    async with working(stack) as queue:
        result = await stack.container.temporal.execute_workflow(
            GivesUp.run, id=queue, task_queue=queue, execution_timeout=timedelta(seconds=20)
        )

    assert result == "given up"


async def test_what_a_step_returns_is_given_to_the_next_one_without_reading_it_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get_many = BlobStore.get_many

    async def reading(self: BlobStore, keys: Sequence[str]) -> dict[str, bytes]:
        read.extend(keys)
        return await get_many(self, keys)

    monkeypatch.setattr(BlobStore, "get_many", reading)
    async with working(stack) as queue:
        handle = await stack.container.temporal.start_workflow(
            Doubles.run, id=queue, task_queue=queue, execution_timeout=timedelta(seconds=20)
        )
        assert await handle.result() == 8

    assert not read
    assert len(await named(handle)) == 3, "all of it is stored, for other workers"
    assert await named(handle) <= await stored(stack)
