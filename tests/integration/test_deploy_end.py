"""Deploys that are cancelled, give up, or take long: what stands then, and what finishes them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from activities.bundles import BundleCache
from activities.sync_schedules import SyncSchedules
from config.compile import compile_project
from perdure.db.bundles import BundleStore
from perdure.temporal import policies
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import DeployInput, DeployResult
from tests.support.deploys import Deploys, before_first, eventually, files

ISSUES = files("issues: Issue, auto_start false")
TICKETS = files("tickets: Issue, auto_start false")


class Cancelling:
    """Cancels the deploy that is under way when it is called, and goes on when that has arrived."""

    def __init__(self, env: Deploys) -> None:
        self._env = env
        self._answer: asyncio.Task[httpx.Response] | None = None

    async def __call__(self) -> None:
        self._answer = asyncio.create_task(self._env.client.post("/deployments/cancel"))
        await eventually(self._has_arrived)

    async def answer(self) -> dict[str, object]:
        assert self._answer is not None, "nothing called it"
        answer = await self._answer
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def _has_arrived(self) -> bool:
        history = await self._env.deploy_handle().fetch_history()
        return any(
            event.HasField("workflow_execution_cancel_requested_event_attributes")
            for event in history.events
        )


async def syncs(env: Deploys) -> dict[str, int]:
    rows = await env.stack.container.database.pool.fetch(
        "SELECT s.name, count(*) FROM syncs s JOIN connections c ON c.id = s.connection_key"
        " WHERE c.environment_id = $1 GROUP BY s.name",
        env.stack.environment.id,
    )
    return {row["name"]: row["count"] for row in rows}


async def test_cancelled_deploy_ends_after_its_batch_and_deploying_again_finishes_it(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.connect_many(70)
    await env.deploy(ISSUES)
    await env.save_many("Issue", 3)
    cancelling = Cancelling(env)
    before_first(monkeypatch, SyncSchedules, "ensure", cancelling)

    refused = await env.deploy(TICKETS, expect=409)

    told = await cancelling.answer()
    message = told["message"]
    assert "connections 51 to 70" in message
    assert "Deploy again" in message
    assert refused["error"]["code"] == "deploy_cancelled"
    assert message in refused["error"]["message"]
    assert told == {
        "deployment_id": told["deployment_id"],
        "bundle": compile_project(TICKETS).project.hash,
        "ended": True,
        "connections": 70,
        "reconciled": 50,
        "message": message,
    }
    description = await env.deploy_handle().describe()
    assert description.status is WorkflowExecutionStatus.CANCELED
    active = await env.stack.container.database.bundles.active(env.stack.environment.id)
    assert active is not None
    assert active.hash == told["bundle"], "what was activated stays so"
    assert await syncs(env) == {"tickets": 50, "issues": 20}
    assert await env.count_records() == 20 * 3
    (latest, *_) = (await env.client.get("/deployments")).json()["deployments"]
    assert (latest["id"], latest["reconciled_at"]) == (told["deployment_id"], None)

    again = await env.deploy(TICKETS)

    assert again["deployment_id"] == told["deployment_id"]
    assert again["schedules"] == {"created": 20, "updated": 50, "deleted": 20}
    assert again["records_erased"] == 20 * 3, "a renamed sync starts from nothing"
    assert await syncs(env) == {"tickets": 70}
    (latest, *_) = (await env.client.get("/deployments")).json()["deployments"]
    assert latest["reconciled_at"] is not None


async def test_other_bundle_finishes_what_a_cancelled_deploy_left(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.connect_many(60)
    await env.deploy(ISSUES)
    await env.save_many("Issue", 1)
    cancelling = Cancelling(env)
    before_first(monkeypatch, SyncSchedules, "ensure", cancelling)
    await env.deploy(files("people: Person, auto_start false"), expect=409)
    await cancelling.answer()
    assert await syncs(env) == {"people": 50, "issues": 10}

    done = await env.deploy(TICKETS)

    assert await syncs(env) == {"tickets": 60}
    assert done["records_erased"] == 10, "what a sync saved two bundles ago is not the new one's"


async def test_deploy_that_is_cancelled_before_its_activation_changes_nothing(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = await env.connect()
    first = await env.deploy(ISSUES)
    cancelling = Cancelling(env)
    before_first(monkeypatch, BundleCache, "config", cancelling)

    refused = await env.deploy(TICKETS, expect=409)

    told = await cancelling.answer()
    assert told["deployment_id"] == first["deployment_id"]
    assert (told["connections"], told["reconciled"]) == (1, 1)
    assert refused["error"]["code"] == "deploy_cancelled"
    assert "nothing has changed" in refused["error"]["message"]
    latest = await env.stack.container.database.bundles.latest(env.stack.environment.id)
    assert latest is not None
    assert latest.id == first["deployment_id"]
    assert await env.syncs_of(acme) == {"issues"}


async def test_deploy_that_is_cancelled_at_its_activation_leaves_all_connections(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.connect_many(3)
    cancelling = Cancelling(env)
    before_first(monkeypatch, BundleStore, "deploy", cancelling)

    await env.deploy(ISSUES, expect=409)

    told = await cancelling.answer()
    assert (told["connections"], told["reconciled"]) == (3, 0)
    assert "connections 1 to 3" in str(told["message"])


async def test_cancel_during_the_last_batch_is_too_late(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.connect_many(2)
    cancelling = Cancelling(env)
    before_first(monkeypatch, SyncSchedules, "ensure", cancelling)

    done = await env.deploy(ISSUES)

    told = await cancelling.answer()
    assert done["schedules"]["created"] == 2
    assert (told["connections"], told["reconciled"], told["ended"]) == (2, 2, True)


async def test_nothing_can_be_cancelled_when_no_deploy_is_under_way(env: Deploys) -> None:
    for _ in range(2):
        answer = await env.client.post("/deployments/cancel")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "no_deploy_under_way"
        await env.deploy(ISSUES)


async def test_deploy_that_gives_up_says_what_is_left_and_deploying_again_finishes_it(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.connect_many(3)
    pool = env.stack.container.database.pool
    with monkeypatch.context() as patch:
        patch.setattr(policies, "SCHEDULES", impatient(2))
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("LOCK TABLE syncs IN SHARE ROW EXCLUSIVE MODE")
            failed = await env.deploy(ISSUES, expect=500)

    error = failed["error"]
    assert error["code"] == "deploy_incomplete"
    assert "connections 1 to 3" in error["message"]
    assert "Deploy again" in error["message"]
    active = await env.stack.container.database.bundles.active(env.stack.environment.id)
    assert active is not None

    await env.deploy(ISSUES)

    assert await syncs(env) == {"issues": 3}


def impatient(seconds: float) -> policies.ActivityConfig:
    return {**policies.SCHEDULES, "schedule_to_close_timeout": timedelta(seconds=seconds)}


async def test_long_deploy_continues_as_new(env: Deploys) -> None:
    await env.connect_many(120)
    compiled = compile_project(ISSUES).project
    database, environment = env.stack.container.database, env.stack.environment
    await database.bundles.put(compiled.hash, compiled.files, compiled.config.to_json())

    first = await env.stack.container.temporal.start_workflow(
        WorkflowType.DEPLOY,
        DeployInput(
            environment=environment.name,
            environment_id=environment.id,
            bundle=compiled.hash,
            after=0,
            batches_per_run=1,
        ),
        id=f"deploy/{environment.name}",
        task_queue=TaskQueue.ACTIONS,
        result_type=DeployResult,
    )
    result = await first.result()

    assert (result.connections, result.created) == (120, 120)
    latest = await database.bundles.latest(environment.id)
    assert latest is not None
    assert latest.reconciled_at is not None
    assert result.deployment_id == latest.id
    steps = []
    run_id: str | None = first.result_run_id
    while run_id:
        history = await env.deploy_handle(run_id).fetch_history()
        steps.append(
            [
                event.activity_task_scheduled_event_attributes.activity_type.name
                for event in history.events
                if event.HasField("activity_task_scheduled_event_attributes")
            ]
        )
        last = history.events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    assert steps == [
        ["check_schedules", "activate_bundle", "reconcile_connections"],
        ["reconcile_connections"],
        ["reconcile_connections"],
    ]
