"""Webhooks that wait for each other are handled by one execution, each for itself."""

from __future__ import annotations

import asyncio

from temporalio.testing import ActivityEnvironment

from activities.erasure import Erasure
from activities.records import BatchVerb, RecordActivities
from activities.webhook_batches import (
    CommittedWebhooks,
    CommitWebhooks,
    HeldWebhook,
    HeldWrite,
    StartWebhooks,
    WebhookBatchActivities,
)
from activities.webhook_tasks import WebhookTaskActivities
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.runs import RunStatus
from perdure.ids import webhook_workflow_id, webhooks_workflow_id
from perdure.temporal.payloads import HistoryLimits, WebhookInput
from tests.integration.test_incoming_webhooks import (  # noqa: F401
    connection,
    done,
    handled_by,
    rules,
    runs,
    sweep,
    take,
)
from tests.support.stack import Stack

SAVES = """
seen = []

async def on_webhook_payload_received(nango, payload):
    seen.append(payload["id"])
    await nango.log("webhook", payload["id"])
    if payload["id"] in payload.get("poisoned", []):
        raise ValueError("poisoned")
    await nango.batch_save([{"id": str(payload["id"]), "title": str(len(seen))}], "Issue")
"""


async def handled(stack: Stack, script: str, *payloads: dict[str, object]) -> list[int]:
    """Have webhooks handled that came before anybody looked; returns the ids of their tasks."""
    await stack.deploy(handled_by(script))
    await rules(stack, signature=None)
    for payload in payloads:
        await take(stack, payload)
    await sweep(stack)
    found = await done(stack, len(payloads))
    store = stack.container.database.webhook_events
    return [task.id for event in found for task in await store.tasks(event.id)]


async def test_many_that_wait_take_one_execution_and_a_run_each(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    tasks = await handled(stack, SAVES, *({"id": number} for number in range(25)))

    assert [r["id"] for r in await stack.records(connection)] == [str(n) for n in range(25)]
    # Each has begun with the script's module as it is written.
    assert {r["title"] for r in await stack.records(connection)} == {"1"}
    found = await runs(stack)
    together = webhooks_workflow_id(stack.environment.name, tasks[0], tasks[-1])
    assert {run.workflow_id for run in found} == {together}
    assert len({run.id for run in found}) == 25
    assert {run.status for run in found} == {RunStatus.SUCCESS}
    assert [run.counts["Issue"]["added"] for run in found] == [1] * 25
    lines = [await stack.container.database.runs.logs(run.id) for run in found]
    assert sorted(line.message for (line,) in lines) == sorted(f"webhook {n}" for n in range(25))


async def test_one_that_fails_does_so_in_an_execution_of_its_own(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    payloads = ({"id": number, "poisoned": [0, 5, 6]} for number in range(20))
    tasks = await handled(stack, SAVES, *payloads)

    assert [r["id"] for r in await stack.records(connection)] == [
        str(number) for number in range(20) if number not in (0, 5, 6)
    ]
    failed = await runs(stack, status=RunStatus.FAILED)
    assert {run.workflow_id for run in failed} == {
        webhook_workflow_id(stack.environment.name, tasks[number]) for number in (0, 5, 6)
    }
    assert len(await runs(stack)) == 20


async def test_script_that_asks_for_more_gets_an_execution_and_does_nothing_twice(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    asks = """
async def on_webhook_payload_received(nango, payload):
    await nango.batch_save([{"id": str(payload["id"]), "title": "a"}], "Issue")
    try:
        await nango.get_metadata()
    except BaseException:
        raise
    finally:
        await nango.batch_save([{"id": str(payload["id"]), "title": "b"}], "Issue")
"""
    tasks = await handled(stack, asks, *({"id": number} for number in range(4)))

    found = await runs(stack)
    assert [run.workflow_id for run in found] == [
        webhook_workflow_id(stack.environment.name, task) for task in tasks
    ]
    counts = {"added": 1, "updated": 1, "deleted": 0, "unchanged": 0}
    assert [run.counts["Issue"] for run in found] == [counts] * 4
    assert {r["title"] for r in await stack.records(connection)} == {"b"}


async def test_batch_about_which_there_is_something_to_say_says_it(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    twice = """
async def on_webhook_payload_received(nango, payload):
    issue = {"id": str(payload["id"]), "title": "a"}
    await nango.batch_save([issue] * (2 if payload["id"] == 2 else 1), "Issue")
"""
    tasks = await handled(stack, twice, *({"id": number} for number in range(5)))

    assert [r["id"] for r in await stack.records(connection)] == ["0", "1", "2", "3", "4"]
    own = webhook_workflow_id(stack.environment.name, tasks[2])
    (run,) = (run for run in await runs(stack) if run.workflow_id == own)
    (line,) = await stack.container.database.runs.logs(run.id)
    assert line.level == "warn"


async def test_what_is_written_down_by_two_is_written_once(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    await stack.deploy(handled_by(SAVES))
    await rules(stack, signature=None)
    for number in range(3):
        await take(stack, {"id": number})
    database, bundles = stack.container.database, stack.container.bundles
    tasks = [task.id for task in await database.webhook_events.due(connection.key, 10)]
    activities = WebhookBatchActivities(
        database,
        RecordActivities(database),
        WebhookTaskActivities(
            database,
            bundles,
            Erasure(database, bundles),
            stack.container.temporal,
            HistoryLimits(),
        ),
    )
    first = WebhookInput(
        task_id=tasks[0],
        environment=stack.environment.name,
        sync="issues",
        connection_id="acme",
        together=tuple(tasks[1:]),
    )
    started = await ActivityEnvironment().run(
        activities.start_webhooks, StartWebhooks(webhook=first, started_at=utcnow())
    )
    assert started.context is not None
    context = started.context

    async def commit(who: str) -> CommittedWebhooks:
        held = [
            HeldWebhook(
                task_id=task,
                run_id=f"{stack.environment.name}-{who}-{task}",
                started_at=utcnow(),
                writes=[
                    HeldWrite(
                        verb=BatchVerb.SAVE,
                        model="Issue",
                        records=[{"id": str(task), "title": who}],
                    )
                ],
            )
            for task in tasks
        ]
        return await ActivityEnvironment().run(
            activities.commit_webhooks, CommitWebhooks(context=context, webhooks=held)
        )

    one, other = await asyncio.gather(commit("a"), commit("b"))
    done_by = {"a": one, "b": other}
    assert sorted(one.count for one in done_by.values()) == [0, 3]
    winner = next(who for who, one in done_by.items() if one.count)

    # Whoever does not hear the answer asks again.
    again = await commit(winner)
    assert (again.count, again.counts) == (3, {})
    assert {r["title"] for r in await stack.records(connection)} == {winner}
    assert len(await runs(stack)) == 3


CHANGES = """
async def on_webhook_payload_received(nango, payload):
    labels = ["first"]
    record = {"id": str(payload["id"]), "title": "issue", "labels": labels}
    await nango.batch_save([record], "Issue")
    labels.append("afterwards")
"""


async def test_what_a_script_changes_afterwards_is_not_saved(
    stack: Stack,
    connection: Connection,  # noqa: F811
) -> None:
    await handled(stack, CHANGES, *({"id": number} for number in range(5)))

    assert [r["labels"] for r in await stack.records(connection)] == [["first"]] * 5
